-- One row per cell and holder: GPU time and energy in whole microseconds and millijoules that add up to the cell's.
with parts as (
    select
        h.*,
        c.slot,
        c.gpu_sku,
        c.gpu_time_us,
        e.gpu_energy_millijoules,
        e.interpolated_millijoules,
        e.module_energy_millijoules,
        least(coalesce(e.known_us, 0), c.gpu_time_us) as known_us,
        e.energy_methods,
        coalesce(e.reasons, []) as reasons
    from work_holders as h
    inner join work_cells as c
        on h.hour_at = c.hour_at and h.gpu_uuid = c.gpu_uuid and h.node = c.node and h.from_us = c.from_us
    left join work_cell_energy as e
        on h.hour_at = e.hour_at and h.gpu_uuid = e.gpu_uuid and h.node = e.node and h.from_us = e.from_us
)

select
    p.hour_at,
    p.slot,
    p.gpu_uuid,
    p.gpu_sku,
    p.node,
    n.provider,
    n.account,
    n.region,
    n.cluster,
    n.instance_type,
    n.simulated,
    p.bucket,
    case when p.bucket = 'serving' then p.deployment else '(none)' end as deployment,
    case when p.bucket = 'serving' then p.replica else '(none)' end as replica,
    case when p.bucket = 'serving' then p.role else '(none)' end as role,
    case when p.bucket = 'serving' then p.model_served else '(none)' end as model_served,
    case when p.bucket = 'serving' then p.labels else '{}' end as labels,
    p.gpu_time_us as held_us,
    part_of(p.gpu_time_us, p.part_from, p.part_to) as gpu_time_us,
    part_of(p.gpu_energy_millijoules, p.part_from, p.part_to) as gpu_energy_millijoules,
    part_of(p.interpolated_millijoules, p.part_from, p.part_to) as interpolated_millijoules,
    part_of(p.module_energy_millijoules, p.part_from, p.part_to) as module_energy_millijoules,
    part_of(p.known_us, p.part_from, p.part_to) as known_us,
    p.energy_methods,
    case when p.is_overlap then list_append(p.reasons, 'placement_overlap') else p.reasons end as reasons
from parts as p
inner join work_node_hours as n on p.hour_at = n.hour_at and p.node = n.node
