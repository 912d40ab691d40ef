-- One row per node and slot with GPUs: their time, their energy, and whether all that the node has are known.
with present as (
    select
        *,
        unnest(range(12))::tinyint as slot
    from work_node_hours
),

gpus as (
    select
        hour_at,
        slot,
        node,
        sum(gpu_time_us)::bigint as gpu_time_us,
        coalesce(sum(gpu_energy_millijoules), 0)::bigint as gpu_energy_millijoules,
        sum(known_us) as known_us,
        count(distinct gpu_uuid) filter (gpu_time_us > 0) as gpu_count
    from work_use
    group by all
)

select
    g.hour_at,
    g.slot,
    g.node,
    g.gpu_time_us,
    g.gpu_energy_millijoules,
    overlap_us(
        epoch_us(g.hour_at) + p.slot * slot_us(), epoch_us(g.hour_at) + (p.slot + 1) * slot_us(), p.from_us, p.to_us
    ) as present_us,
    g.gpu_count >= coalesce(p.gpu_count, g.gpu_count)
    and g.known_us >= g.gpu_time_us - getvariable('slot_tolerance_us') * g.gpu_count as is_gpu_known
from gpus as g
inner join present as p on g.hour_at = p.hour_at and g.slot = p.slot and g.node = p.node
where g.gpu_time_us > 0
