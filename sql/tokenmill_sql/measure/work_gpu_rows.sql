-- view: One row per landed GPU sample near the hours, on the corrected clock, and the piece of its slot that it lies in.
with shifted as (
    select
        s.series_key,
        s.run_key,
        s.monotonic_us,
        s.energy_counter_millijoules as counter_millijoules,
        s.energy_integrated_millijoules as integrated_millijoules,
        s.integrated_us,
        s.sm_utilization_percent,
        s.sampled_at_us + coalesce(f.offset_us, 0) as at_us
    from hour_gpu_samples as s
    left join work_series_shifts as f
        on s.series_key = f.series_key and s.sampled_at_us // hour_us() = epoch_us(f.hour_at) // hour_us()
)

select
    r.*,
    r.at_us // slot_us() as slot_number,
    coalesce(len(list_filter(c.cuts, lambda cut: cut <= r.at_us)), 0)::smallint as piece
from shifted as r
left join work_series_cuts as c on r.series_key = c.series_key and r.at_us // hour_us() = c.hour_number
where
    r.at_us >= getvariable('hours_from_us')
    and r.at_us < getvariable('hours_to_us')
    and (r.counter_millijoules is not null or r.integrated_millijoules is not null)
