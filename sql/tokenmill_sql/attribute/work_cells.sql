-- One row per GPU and stretch of a slot in which its holders do not change, with the time that the GPU was there in it.
with moments as (
    select hour_at, gpu_uuid, node, epoch_us(hour_at) + unnest(range(12)) * slot_us() as from_us from work_gpu_hours
    union
    select hour_at, gpu_uuid, node, unnest(cuts) as from_us from work_cuts
),

stretches as (
    select
        *,
        coalesce(
            lead(from_us) over (partition by hour_at, gpu_uuid, node order by from_us), epoch_us(hour_at) + hour_us()
        ) as to_us
    from moments
)

select
    s.hour_at,
    slot_of(s.from_us) as slot,
    s.gpu_uuid,
    s.node,
    g.gpu_sku,
    s.from_us,
    s.to_us,
    overlap_us(s.from_us, s.to_us, g.from_us, g.to_us) as gpu_time_us
from stretches as s
inner join work_gpu_hours as g on s.hour_at = g.hour_at and s.gpu_uuid = g.gpu_uuid and s.node = g.node
