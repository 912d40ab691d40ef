-- One row per suspect epoch, slot and unbroken stretch of it: the same columns as the aggregate, sample by sample.
-- Where a counter fell or jumped, the agent's own integral stands in if it has no gap; else that step is missing.
select
    series_key,
    slot_number,
    (100 + island)::smallint as piece,
    count(*) as sample_count,
    min(monotonic_us) as first_monotonic_us,
    max(monotonic_us) as last_monotonic_us,
    arg_min(at_us, monotonic_us) as first_at_us,
    arg_max(at_us, monotonic_us) as last_at_us,
    arg_min(run_key, monotonic_us) as first_run_key,
    arg_max(run_key, monotonic_us) as last_run_key,
    arg_min(counter_millijoules, monotonic_us) as first_counter_millijoules,
    arg_max(counter_millijoules, monotonic_us) as last_counter_millijoules,
    arg_min(integrated_millijoules, monotonic_us) as first_integrated_millijoules,
    arg_max(integrated_millijoules, monotonic_us) as last_integrated_millijoules,
    arg_min(integrated_us, monotonic_us) as first_integrated_us,
    arg_max(integrated_us, monotonic_us) as last_integrated_us,
    case
        when count(counter_millijoules) > 0 then
            coalesce(sum(
                case
                    when counter_step_millijoules is not null then counter_step_millijoules
                    when has_no_gap(step_monotonic_us, integrated_step_us) then integrated_step_millijoules
                end
            ) filter (not starts_piece), 0)
    end::bigint as counter_increase_millijoules,
    coalesce(sum(step_us) filter (
        not starts_piece
        and counter_millijoules is not null
        and (counter_step_millijoules is not null or has_no_gap(step_monotonic_us, integrated_step_us))
    ), 0)::bigint as counter_known_us,
    coalesce(sum(integrated_step_millijoules) filter (not starts_piece), 0)::bigint as integrated_increase_millijoules,
    coalesce(sum(integrated_step_us) filter (not starts_piece), 0)::bigint as integrated_known_us,
    count(*) filter (not starts_piece and step_counter_millijoules < 0) as fall_count,
    max(sm_utilization_percent) as sm_utilization_percent_max,
    list_filter([
        case when bool_or(not starts_piece and step_counter_millijoules < 0) then 'counter_fell' end,
        case
            when bool_or(not starts_piece and step_counter_millijoules >= 0 and counter_step_millijoules is null)
                then 'implausible_power'
        end
    ], lambda reason: reason is not null) as reasons
from work_gpu_steps
group by series_key, slot_number, island
