-- One row per hour, five-minute slot and host counter: the increase between its own samples, and its edges.
select
    make_timestamp((slot_number // 12) * hour_us()) as hour_at,
    (slot_number % 12)::tinyint as slot,
    series_key,
    any_value(node) as node,
    any_value(boot_id) as boot_id,
    any_value(host_scope) as host_scope,
    any_value(host_source) as host_source,
    any_value(host_id) as host_id,
    count(*) as sample_count,
    arg_min(at_us, monotonic_us) as first_at_us,
    arg_max(at_us, monotonic_us) as last_at_us,
    min(monotonic_us) as first_monotonic_us,
    max(monotonic_us) as last_monotonic_us,
    arg_min(run_key, monotonic_us) as first_run_key,
    arg_max(run_key, monotonic_us) as last_run_key,
    arg_min_null(counter_millijoules, monotonic_us) as first_counter_millijoules,
    arg_max_null(counter_millijoules, monotonic_us) as last_counter_millijoules,
    arg_min_null(
        case
            when counter_millijoules is null and power_mean_milliwatts <= host_energy_millijoules_max(0)
                then round(power_mean_milliwatts * (covered_us / 1e6))::bigint
        end,
        monotonic_us
    ) as lead_millijoules,
    arg_min_null(case when counter_millijoules is null then covered_us end, monotonic_us) as lead_us,
    coalesce(sum(known_millijoules), 0)::bigint as counter_increase_millijoules,
    sum(known_us)::bigint as counter_known_us,
    reasons_of(list(reason)) as reasons
from work_host_steps
group by slot_number, series_key
union all by name
-- A part that answered nothing all slot long is expected all the same.
select
    make_timestamp((slot_number // 12) * hour_us()) as hour_at,
    (slot_number % 12)::tinyint as slot,
    series_key,
    any_value(node) as node,
    any_value(boot_id) as boot_id,
    any_value(host_scope) as host_scope,
    any_value(host_source) as host_source,
    any_value(host_id) as host_id,
    0 as sample_count,
    min(at_us) as first_at_us,
    max(at_us) as last_at_us,
    min(monotonic_us) as first_monotonic_us,
    max(monotonic_us) as last_monotonic_us,
    min(run_key) as first_run_key,
    max(run_key) as last_run_key,
    0 as counter_increase_millijoules,
    0 as counter_known_us,
    ['no_host_reading'] as reasons
from work_host_rows
group by slot_number, series_key
having not bool_or(is_reading)
