-- One row per billed resource and node that it may be: how it was recognised, the surest way first, and when the node was seen.
with billed as (
    select distinct
        c.provider,
        c.resource_id
    from billing.charges as c
    inner join billing.deliveries as d on c.delivery_id = d.delivery_id and d.superseded_at is null
    where
        c.resource_id is not null
        and (c.provider, c.resource_id) not in (
            select (l.provider, l.resource_id) from billing.resource_links as l where l.method = 'configured'
        )
),

-- An ARN, an Azure path or a resource name ends in the id that the machine itself knows.
billed_keys as (
    select
        provider,
        resource_id,
        lower(trim(resource_id)) as whole_key,
        lower(regexp_extract(trim(resource_id), '([^/:]+)/?$', 1)) as last_key
    from billed
),

node_keys as (
    select distinct
        lower(provider) as provider_key,
        node,
        valid_from_at,
        last_seen_at,
        unnest([
            {'method': 'instance_id', 'rank': 1, 'key': lower(instance_id)},
            {'method': 'provider_id', 'rank': 2, 'key': lower(provider_id)},
            {'method': 'provider_id', 'rank': 2, 'key': lower(regexp_replace(provider_id, '^[a-z]+://', ''))},
            {'method': 'provider_id', 'rank': 3, 'key': lower(regexp_extract(provider_id, '([^/:]+)/?$', 1))},
            {'method': 'node', 'rank': 4, 'key': lower(node)}
        ]) as known
    from fleet.node_intervals
),

named as (
    select
        * exclude (known),
        known.method as method,
        known.rank as method_rank,
        known.key as node_key
    from node_keys
    where known.key not in ('', '(none)', '(unknown)')
),

matched as (
    select
        b.provider,
        b.resource_id,
        n.node,
        n.valid_from_at,
        n.last_seen_at,
        n.method || case when n.node_key = b.whole_key then '' else '_in_last_part' end as method,
        n.method_rank * 2 + (n.node_key <> b.whole_key)::integer as method_rank
    from billed_keys as b
    inner join named as n on lower(b.provider) = n.provider_key and n.node_key in (b.whole_key, b.last_key)
),

ranked as (
    select
        *,
        rank() over (partition by provider, resource_id order by method_rank) as place
    from matched
)

select
    provider,
    resource_id,
    node,
    min(method) as method,
    min(valid_from_at) as valid_from_at,
    max(last_seen_at) as last_seen_at
from ranked
where place = 1
group by provider, resource_id, node
