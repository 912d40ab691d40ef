-- One row per slot and deployment of which a GPU fell silent within a day: its node no longer says who holds it, so nobody
-- knows whether the deployment is whole.
with gpus as (
    select
        gpu_uuid,
        node,
        arg_max(deployment, last_seen_at) as deployment,
        arg_max(replica, last_seen_at) as replica,
        epoch_us(max(last_seen_at)) as last_us
    from fleet.placement_intervals
    where last_seen_at >= make_timestamp(getvariable('hours_from_us')) - interval 24 hours
    group by all
),

clusters as (
    select
        node,
        arg_max(cluster, last_seen_at) as cluster
    from fleet.node_intervals
    group by node
),

slots as (
    select
        hour_at,
        unnest(range(12))::tinyint as slot
    from work_hours
)

select distinct
    s.hour_at,
    s.slot,
    coalesce(n.cluster, c.cluster) as cluster,
    g.deployment
from gpus as g
inner join slots as s
    on
        epoch_us(s.hour_at) + (s.slot + 1) * slot_us() - getvariable('slot_tolerance_us') > g.last_us
        and epoch_us(s.hour_at) + s.slot * slot_us() <= g.last_us + 24 * hour_us()
inner join clusters as c on g.node = c.node
left join work_node_hours as n on g.node = n.node and s.hour_at = n.hour_at
where g.deployment <> '(none)' and g.replica <> '(none)'
