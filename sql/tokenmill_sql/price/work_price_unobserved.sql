-- One row per hour and node whose billed GPU time exceeds what was seen of it: the time that nobody saw.
with identities as (
    select
        h.hour_at,
        i.provider,
        i.node,
        arg_max(i.cluster, i.valid_from_at) as cluster,
        arg_max(i.gpu_count, i.valid_from_at) as gpu_count,
        arg_max(i.simulated, i.valid_from_at) as simulated
    from fleet.node_intervals as i
    inner join work_hours as h on i.valid_from_at < h.hour_at + interval 1 hour
    group by all
),

linked as (
    select
        b.hour_at,
        b.provider,
        k.node,
        min(b.account) as account,
        min(b.gpu_sku) as gpu_sku,
        max(coalesce(b.gpu_count, n.gpu_count, i.gpu_count)) as gpu_count,
        sum(
            b.machine_us::hugeint
            * case when b.is_gpu_time then 1 else coalesce(b.gpu_count, n.gpu_count, i.gpu_count) end
            * k.parts // k.parts_total
        )::bigint as billed_gpu_us,
        coalesce(any_value(n.gpu_time_us), 0) as seen_gpu_us,
        any_value(n.gpu_sku) as seen_gpu_sku,
        any_value(n.account) as seen_account,
        any_value(coalesce(n.cluster, i.cluster)) as cluster,
        bool_or(coalesce(n.simulated, i.simulated)) as simulated
    from work_price_billed_time as b
    inner join work_price_links as k
        on
            b.hour_at = k.hour_at
            and b.provider = k.provider
            and k.resource_id = case b.match_level when 'resource' then b.resource_id else b.capacity_reservation_id end
    left join work_price_nodes as n
        on k.hour_at = n.hour_at and k.provider = n.provider and k.node = n.node
    left join identities as i
        on k.hour_at = i.hour_at and k.provider = i.provider and k.node = i.node
    where b.match_level in ('resource', 'pool')
    group by b.hour_at, b.provider, k.node
)

select
    hour_at,
    provider,
    coalesce(seen_account, account) as account,
    coalesce(cluster, '(unknown)') as cluster,
    node,
    coalesce(seen_gpu_sku, gpu_sku, '(unknown)') as gpu_sku,
    least(billed_gpu_us, gpu_count * hour_us()) - seen_gpu_us as gpu_time_us,
    coalesce(simulated, false) as simulated
from linked
where least(billed_gpu_us, gpu_count * hour_us()) > seen_gpu_us
union all
select
    p.hour_at,
    p.provider,
    p.account,
    '(unknown)' as cluster,
    p.node,
    coalesce(q.gpu_sku, '(unknown)') as gpu_sku,
    p.gpu_time_us,
    false as simulated
from work_price_pool_nodes as p
inner join work_price_pools as q
    on p.hour_at = q.hour_at and p.provider = q.provider and p.account = q.account and p.pool = q.pool
where p.is_unobserved
