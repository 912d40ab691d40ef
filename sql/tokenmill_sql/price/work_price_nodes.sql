-- One row per hour and node that was seen: whose it is, what it holds and its GPU time.
with counts as (
    select
        h.hour_at,
        i.provider,
        i.node,
        arg_max(i.gpu_count, i.valid_from_at) as gpu_count
    from fleet.node_intervals as i
    inner join work_hours as h on i.valid_from_at < h.hour_at + interval 1 hour
    group by all
),

nodes as (
    select
        hour_at,
        provider,
        node,
        min(account) as account,
        min(cluster) as cluster,
        min(region) as region,
        min(instance_type) as instance_type,
        coalesce(min(gpu_sku) filter (gpu_sku <> '(unknown)'), '(unknown)') as gpu_sku,
        sum(gpu_time_us)::bigint as gpu_time_us,
        bool_or(simulated) as simulated
    from work_price_use
    group by all
)

select
    n.*,
    c.gpu_count
from nodes as n
left join counts as c on n.hour_at = c.hour_at and n.provider = c.provider and n.node = c.node
