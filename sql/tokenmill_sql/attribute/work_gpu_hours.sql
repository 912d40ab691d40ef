-- One row per GPU, node and hour in which it was there: from when to when. A GPU that appears or vanishes with its node is
-- there as long as the node.
with gpus as (
    select
        gpu_uuid,
        node,
        min(epoch_us(first_seen_at)) as first_us,
        max(epoch_us(last_seen_at)) as last_us,
        arg_max(gpu_name, last_seen_at) as gpu_name
    from fleet.gpu_intervals
    group by all
)

select
    n.hour_at,
    g.gpu_uuid,
    g.node,
    k.gpu_sku,
    case when g.first_us - n.from_us <= 900000000 then n.from_us else g.first_us end as from_us,
    case when n.to_us - g.last_us <= 900000000 then n.to_us else g.last_us end as to_us
from gpus as g
inner join work_node_hours as n
    on g.node = n.node and g.first_us < n.to_us + 900000000 and g.last_us > n.from_us - 900000000
inner join work_gpu_skus as k on g.gpu_name = k.gpu_name and n.hour_at = k.hour_at
