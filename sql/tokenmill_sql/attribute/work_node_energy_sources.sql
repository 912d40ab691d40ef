-- One row per node, slot, scope and source of host readings: the sum over its parts, and whether all of them are known.
-- A source's parts add up (sockets, power supplies); sources are other views of the same and never do. A part that
-- was seen in the last day is expected: without it the sum would be of a part of the node.
with seen as (
    select distinct hour_at, node, host_scope, host_source, host_id
    from measured.host_energy
    where
        hour_at > make_timestamp(getvariable('hours_from_us')) - interval 24 hours
        and hour_at < make_timestamp(getvariable('hours_to_us'))
        and host_scope <> 'rack_input'
),

expected as (
    select distinct h.hour_at, s.node, s.host_scope, s.host_source, s.host_id
    from seen as s
    inner join work_hours as h on s.hour_at <= h.hour_at and s.hour_at > h.hour_at - interval 24 hours
)

select
    g.hour_at,
    g.slot,
    g.node,
    e.host_scope,
    e.host_source,
    -- Two rails of one socket are one socket.
    count(distinct regexp_extract(e.host_id, '[0-9]+$')) as socket_count,
    bool_and(coalesce(s.known_us, 0) >= g.present_us - getvariable('slot_tolerance_us')) as is_known,
    sum(s.energy_millijoules)::bigint as energy_millijoules
from work_node_energy_gpus as g
inner join expected as e on g.hour_at = e.hour_at and g.node = e.node
left join work_host_slots as s
    on
        g.hour_at = s.hour_at
        and g.slot = s.slot
        and g.node = s.node
        and e.host_scope = s.host_scope
        and e.host_source = s.host_source
        and e.host_id = s.host_id
where g.present_us > getvariable('slot_tolerance_us')
group by all
