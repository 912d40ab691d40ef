-- One row per GPU and hour in which it changed hands: the moments strictly inside the hour at which its holders change.
with moments as (
    select gpu_uuid, node, epoch_us(valid_from_at) as at_us from fleet.placement_intervals
    union
    select gpu_uuid, node, epoch_us(last_seen_at) as at_us from fleet.placement_intervals
)

select
    m.gpu_uuid,
    m.node,
    h.hour_at,
    list_sort(list(m.at_us)) as cuts
from moments as m
inner join work_hours as h on hour_of(m.at_us) = h.hour_at and m.at_us > epoch_us(h.hour_at)
group by all
