-- One row per landed host row of the hours, on the corrected clock: a counter, a mean power and the time it covers, or
-- neither, where a part that should answer did not.
with shifted as (
    select
        s.node,
        s.boot_id,
        s.scope as host_scope,
        s.source as host_source,
        s.id as host_id,
        key_of(concat_ws(chr(31), s.node, s.boot_id, s.scope, s.source, s.id)) as series_key,
        key_of(s.run_id) as run_key,
        s.monotonic_us,
        s.sampled_at_us + coalesce(o.offset_us, 0) as at_us,
        s.energy_millijoules as counter_millijoules,
        s.power_mean_milliwatts,
        s.covered_us,
        s.energy_millijoules is not null
        or coalesce(s.power_mean_milliwatts >= 0 and s.covered_us > 0, false) as is_reading
    from hour_host_samples as s
    left join work_offsets as o
        on s.node = o.node and s.boot_id = o.boot_id and hour_of(s.sampled_at_us) = o.hour_at
)

select
    r.*,
    r.at_us // slot_us() as slot_number
from shifted as r
semi join work_hours as h on hour_of(r.at_us) = h.hour_at
-- A second copy of a message repeats its readings.
qualify row_number() over (partition by r.series_key, r.monotonic_us order by r.run_key) = 1
