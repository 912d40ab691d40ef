-- One row per counter series and hour with samples, with digests of its first and its last sample.
select
    hour_at,
    series_key,
    false as is_token_series,
    hash(
        min(first_monotonic_us),
        arg_min(first_at_us, first_monotonic_us),
        arg_min(first_counter_millijoules, first_monotonic_us),
        arg_min(first_integrated_millijoules, first_monotonic_us)
    ) as first_edge,
    hash(
        max(last_monotonic_us),
        arg_max(last_at_us, last_monotonic_us),
        arg_max(last_counter_millijoules, last_monotonic_us),
        arg_max(last_integrated_millijoules, last_monotonic_us)
    ) as last_edge
from measured.gpu_energy
where hour_at in (select hour_at from work_hours)
group by hour_at, series_key
union all
select
    hour_at,
    series_key,
    false as is_token_series,
    hash(
        min(first_monotonic_us),
        arg_min(first_at_us, first_monotonic_us),
        arg_min(first_counter_millijoules, first_monotonic_us),
        arg_min(lead_millijoules, first_monotonic_us)
    ) as first_edge,
    hash(
        max(last_monotonic_us),
        arg_max(last_at_us, last_monotonic_us),
        arg_max(last_counter_millijoules, last_monotonic_us)
    ) as last_edge
from measured.host_energy
where hour_at in (select hour_at from work_hours) and sample_count > 0
group by hour_at, series_key
union all
select
    hour_at,
    series_key,
    true as is_token_series,
    hash(
        min(first_monotonic_us),
        arg_min(first_at_us, first_monotonic_us),
        arg_min(first_counters, first_monotonic_us)
    ) as first_edge,
    hash(
        max(last_monotonic_us),
        arg_max(last_at_us, last_monotonic_us),
        arg_max(last_counters, last_monotonic_us)
    ) as last_edge
from measured.series_tokens
where hour_at in (select hour_at from work_hours) and look_count > 0
group by hour_at, series_key
