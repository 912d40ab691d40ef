-- One row per hour, charge and what it reaches: a node, a pool of nodes, or nothing; with its part of the amounts.
with pools as (
    select distinct
        hour_at,
        provider,
        account,
        pool,
        'account_sku_region' as match_level
    from work_price_pool_nodes
),

levels as (
    select
        l.hour_at,
        l.delivery_id,
        l.row_number,
        l.provider,
        case l.match_level
            when 'resource' then l.resource_id
        end as resource_id,
        case
            when l.match_level = 'pool' then format('(pool {})', l.capacity_reservation_id)
            when p.pool is not null then p.pool
        end as pool,
        case when l.match_level = 'account_sku_region' and p.pool is null then 'none' else l.match_level end as match_level,
        l.gpu_sku
    from work_price_levels as l
    left join pools as p
        on
            l.hour_at = p.hour_at
            and l.match_level = p.match_level
            and l.provider = p.provider
            and l.account = p.account
            and p.pool = format('(pool {} {})', l.instance_type, coalesce(l.region, '(any)'))
)

select
    l.hour_at,
    l.delivery_id,
    l.row_number,
    l.match_level,
    coalesce(k.node, l.pool, '(none)') as node,
    l.pool is not null as is_pool,
    coalesce(l.gpu_sku, '(none)') as gpu_sku,
    coalesce(k.parts, 1) as parts,
    coalesce(k.parts_until, 1) as parts_until,
    coalesce(k.parts_total, 1) as parts_total
from levels as l
left join work_price_links as k
    on l.hour_at = k.hour_at and l.provider = k.provider and l.resource_id = k.resource_id
