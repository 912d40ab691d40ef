-- One row per slot and server that was seen within a day and of which the slot has neither values nor failed looks, though
-- its process is still there: what it counted meanwhile is unknown, not nothing.
with lives as (
    select
        server_id,
        node,
        arg_max(cluster, last_seen_at) as cluster,
        arg_max(deployment, last_seen_at) as deployment,
        arg_max(replica, last_seen_at) as replica,
        arg_max(vantage, last_seen_at) as vantage,
        arg_max(address, last_seen_at) as address,
        epoch_us(least(min(first_seen_at), min(process_started_at))) as from_us,
        epoch_us(max(last_seen_at)) as last_us
    from fleet.server_intervals
    semi join (
        select
            server_id,
            node
        from fleet.server_intervals
        where last_seen_at >= make_timestamp(getvariable('hours_from_us')) - interval 24 hours
    ) using (server_id, node)
    group by server_id, node
),

slots as (
    select
        hour_at,
        unnest(range(12))::tinyint as slot
    from work_hours
),

missing as (
    select
        s.hour_at,
        s.slot,
        epoch_us(s.hour_at) + s.slot * slot_us() as slot_from_us,
        l.* replace (coalesce(n.cluster, l.cluster) as cluster)
    from lives as l
    inner join slots as s
        on
            epoch_us(s.hour_at) + s.slot * slot_us() >= l.from_us
            and epoch_us(s.hour_at) + s.slot * slot_us() <= l.last_us + 24 * hour_us()
    left join work_node_hours as n on l.node = n.node and s.hour_at = n.hour_at
    where l.deployment <> '(none)' and l.replica <> '(none)'
),

unseen as (
    select m.*
    from missing as m
    anti join work_server_slots as s
        on
            m.hour_at = s.hour_at
            and m.slot = s.slot
            and m.cluster = s.cluster
            and m.deployment = s.deployment
            and m.replica = s.replica
            and m.vantage = s.vantage
            and m.address = s.address
),

-- A front end holds no GPU that would tell of its process: it is waited for until the hour after its last sighting ends.
frontends as (
    select * from unseen
    where vantage <> 'engine' and slot_from_us < (last_us // hour_us() + 2) * hour_us()
),

engines as (
    select u.*
    from unseen as u
    semi join fleet.placement_intervals as p
        on
            u.vantage = 'engine'
            and u.node = p.node
            and u.deployment = p.deployment
            and u.replica = p.replica
            and epoch_us(p.valid_from_at) <= u.last_us
            and epoch_us(p.last_seen_at) >= u.from_us
            and epoch_us(p.valid_from_at) < u.slot_from_us + slot_us() - getvariable('slot_tolerance_us')
            and epoch_us(p.last_seen_at) > u.slot_from_us + getvariable('slot_tolerance_us')
)

select distinct hour_at, slot, cluster, deployment, replica, vantage, address from engines
union
select distinct hour_at, slot, cluster, deployment, replica, vantage, address from frontends
