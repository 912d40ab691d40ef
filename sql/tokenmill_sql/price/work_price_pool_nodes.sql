-- One row per hour, pool and node that it pays for, with the GPU time by which they share.
-- Machines that the bill knows and no agent saw stand together as one node.
with reached as (
    select distinct
        l.hour_at,
        l.provider,
        k.node
    from work_price_levels as l
    inner join work_price_links as k
        on
            l.hour_at = k.hour_at
            and l.provider = k.provider
            and k.resource_id = case l.match_level when 'resource' then l.resource_id else l.capacity_reservation_id end
    where l.line = 'usage' and l.match_level in ('resource', 'pool')
),

seen as (
    select
        p.hour_at,
        p.provider,
        p.account,
        p.pool,
        n.node,
        n.gpu_time_us
    from work_price_pools as p
    inner join work_price_nodes as n
        on
            p.hour_at = n.hour_at
            and p.provider = n.provider
            and p.account = n.account
            and (p.region in (n.region, '(any)') or n.region in ('(none)', '(unknown)'))
            -- A node that does not know its type is known by its product.
            and (
                p.instance_type = n.instance_type
                or (n.instance_type in ('(none)', '(unknown)') and p.gpu_sku = n.gpu_sku)
            )
    anti join reached as r on n.hour_at = r.hour_at and n.provider = r.provider and n.node = r.node
    where n.gpu_time_us > 0
),

seen_time as (
    select
        hour_at,
        provider,
        account,
        pool,
        sum(gpu_time_us) as gpu_time_us
    from seen
    group by all
)

select
    hour_at,
    provider,
    account,
    pool,
    node,
    gpu_time_us,
    false as is_unobserved
from seen
union all
select
    p.hour_at,
    p.provider,
    p.account,
    p.pool,
    format('(unobserved {} {})', p.instance_type, p.region) as node,
    (p.billed_gpu_us - coalesce(s.gpu_time_us, 0))::bigint as gpu_time_us,
    true as is_unobserved
from work_price_pools as p
left join seen_time as s using (hour_at, provider, account, pool)
where p.billed_gpu_us > coalesce(s.gpu_time_us, 0)
