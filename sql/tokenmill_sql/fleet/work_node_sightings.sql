-- One row per new message: a sighting of a node, with what the configuration says over what the node says. Providers are
-- called as their bills are, whatever a node writes.
with overrides as (
    pivot fleet.overrides
    on field in (
        'provider', 'account', 'region', 'zone', 'cluster', 'rack', 'instance_type', 'instance_id', 'provider_id',
        'gpu_count'
    )
    using max(field_value)
    group by node
)

select
    m.node,
    m.first_at_us,
    m.last_at_us,
    coalesce(n.provider, o.provider, m.provider, '(none)') as provider,
    coalesce(o.account, m.account, '(none)') as account,
    coalesce(o.region, m.region, '(none)') as region,
    coalesce(o.zone, m.zone, '(none)') as zone,
    coalesce(o.cluster, m.cluster, '(none)') as cluster,
    coalesce(o.rack, m.rack, '(none)') as rack,
    coalesce(o.instance_type, m.instance_type, '(none)') as instance_type,
    coalesce(o.instance_id, m.instance_id, '(none)') as instance_id,
    coalesce(o.provider_id, m.provider_id, '(none)') as provider_id,
    coalesce(o.gpu_count::integer, m.gpu_count_expected, 0) as gpu_count,
    m.agent_version,
    m.simulated
from work_messages as m
left join overrides as o on m.node = o.node
left join fleet.provider_names as n on lower(coalesce(o.provider, m.provider)) = n.name_folded
