-- One row per cell with energy: the parts of all segments that fall in it, in whole millijoules that add up. A part that an
-- hour's edge or a change of holder cut out of a segment is interpolated; one that a slot's edge cut out is not.
with spread as (
    select
        c.hour_at,
        c.gpu_uuid,
        c.node,
        c.from_us,
        s.energy_scope,
        s.energy_method,
        spread_before(s.energy_millijoules, s.from_us, s.to_us, c.to_us)
        - spread_before(s.energy_millijoules, s.from_us, s.to_us, c.from_us) as energy_millijoules,
        spread_before(s.known_us, s.from_us, s.to_us, c.to_us)
        - spread_before(s.known_us, s.from_us, s.to_us, c.from_us) as known_us,
        s.from_us // hour_us() <> (s.to_us - 1) // hour_us()
        or (c.from_us > s.from_us and c.from_us % slot_us() <> 0)
        or (c.to_us < s.to_us and c.to_us % slot_us() <> 0) as is_interpolated,
        s.sm_utilization_percent_max,
        s.reasons
    from work_gpu_segments as s
    inner join work_cells as c
        on s.gpu_uuid = c.gpu_uuid and s.node = c.node and s.from_us < c.to_us and s.to_us >= c.from_us
    -- A segment without length, left by a clock that stepped back, belongs to the cell that holds its moment.
    where s.to_us > c.from_us or s.from_us = s.to_us
)

select
    hour_at,
    gpu_uuid,
    node,
    from_us,
    sum(energy_millijoules) filter (energy_scope = 'gpu')::bigint as gpu_energy_millijoules,
    sum(energy_millijoules) filter (energy_scope = 'gpu' and is_interpolated)::bigint as interpolated_millijoules,
    sum(energy_millijoules) filter (energy_scope = 'module')::bigint as module_energy_millijoules,
    coalesce(sum(known_us) filter (energy_scope = 'gpu'), 0)::bigint as known_us,
    max(sm_utilization_percent_max) as sm_utilization_percent_max,
    list_sort(list(distinct energy_method) filter (energy_method is not null)) as energy_methods,
    reasons_of(flatten(list(reasons))) as reasons
from spread
group by all
