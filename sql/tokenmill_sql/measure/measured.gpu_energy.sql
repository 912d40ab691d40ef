-- One row per hour, five-minute slot, counter epoch and piece: increases between its own samples, and its edges.
with regular as (
    select
        p.series_key,
        p.slot_number,
        p.piece,
        p.sample_count,
        p.first_monotonic_us,
        p.last_monotonic_us,
        p.first_at_us,
        p.last_at_us,
        p.least_run_key as first_run_key,
        p.greatest_run_key as last_run_key,
        p.first_counter_millijoules,
        p.last_counter_millijoules,
        -- Each run has an integral of its own: over two of them there is none.
        case when p.is_one_run then p.first_integrated_millijoules end as first_integrated_millijoules,
        case when p.is_one_run then p.last_integrated_millijoules end as last_integrated_millijoules,
        case when p.is_one_run then p.first_integrated_us end as first_integrated_us,
        case when p.is_one_run then p.last_integrated_us end as last_integrated_us,
        p.last_counter_millijoules - p.first_counter_millijoules as counter_increase_millijoules,
        p.last_at_us - p.first_at_us as counter_known_us,
        case when p.is_one_run then p.last_integrated_millijoules - p.first_integrated_millijoules end
            as integrated_increase_millijoules,
        case when p.is_one_run then coalesce(p.last_integrated_us - p.first_integrated_us, 0) else 0 end
            as integrated_known_us,
        0 as fall_count,
        p.sm_utilization_percent_max,
        []::varchar[] as reasons
    from (select *, least_run_key = greatest_run_key as is_one_run from work_gpu_pieces) as p
    anti join work_gpu_suspects as s on p.series_key = s.series_key and p.slot_number // 12 = s.hour_number
),

pieces as (
    select * from regular
    union all by name
    select * from work_gpu_exact_pieces
)

select
    make_timestamp((p.slot_number // 12) * hour_us()) as hour_at,
    (p.slot_number % 12)::tinyint as slot,
    p.* exclude (slot_number)
from pieces as p
semi join work_hours as h on make_timestamp((p.slot_number // 12) * hour_us()) = h.hour_at
