-- One row per cell, and per group of lines that no GPU time takes: what it costs alone and with its share of the rest.
with own as (
    select
        hour_at,
        provider,
        account,
        cluster,
        bucket,
        node,
        gpu_sku,
        deployment,
        replica,
        origin,
        gpu_time_us,
        estimated,
        provisional,
        invoiced,
        rung,
        -- A machine that nobody saw has no cluster: what it costs belongs to the whole account.
        case when bucket = 'serving' then 'none' when cluster = '(unknown)' then 'account' else 'cluster' end as spread
    from work_price_cells
),

without_gpus as (
    select
        hour_at,
        provider,
        account,
        cluster,
        destination as bucket,
        case when rung = 1 then reporting_trillionths else 0 end as estimated,
        case when rung = 2 then reporting_trillionths else 0 end as provisional,
        case when rung = 3 then reporting_trillionths else 0 end as invoiced,
        case
            when destination = 'unallocated' then 'none'
            when match_level = 'resource' and cluster <> '(none)' then 'cluster'
            else 'account'
        end as spread,
        case when reporting_trillionths is not null then rung end as rung,
        reasons_of([reason]) as cost_reasons
    from work_charge_lines
    where destination <> 'gpus'
    union all
    select
        m.hour_at,
        m.provider,
        m.account,
        '(none)' as cluster,
        'unallocated' as bucket,
        m.estimated,
        m.provisional,
        m.invoiced,
        'none' as spread,
        m.rung,
        reasons_of(list_append(m.reasons, 'node_not_seen')) as cost_reasons
    from work_price_node_money as m
    anti join (select hour_at, provider, node from work_price_cells where gpu_time_us > 0) as c
        on m.hour_at = c.hour_at and m.provider = c.provider and m.node = c.node
),

grouped as (
    select
        hour_at,
        provider,
        account,
        cluster,
        bucket,
        spread,
        case when min(rung) is not null then sum(estimated) end as estimated,
        case when min(rung) is not null then sum(provisional) end as provisional,
        case when min(rung) is not null then sum(invoiced) end as invoiced,
        min(rung) as rung,
        reasons_of(flatten(list(cost_reasons))) as cost_reasons
    from without_gpus
    group by all
),

rows_of_money as (
    select
        *,
        null::varchar[] as cost_reasons
    from own
    union all by name
    select
        *,
        '(none)' as node,
        '(none)' as gpu_sku,
        '(none)' as deployment,
        '(none)' as replica,
        'line' as origin,
        0 as gpu_time_us
    from grouped
),

costs as (
    select
        *,
        estimated + provisional + invoiced as effective,
        bucket = 'serving' and estimated is not null as takes
    from rows_of_money
),

pools as (
    select
        *,
        coalesce(sum(effective) filter (spread = 'cluster') over by_cluster, 0) as cluster_pool,
        coalesce(sum(effective) filter (spread = 'account') over by_account, 0) as account_pool,
        case when takes then greatest(effective, 0) else 0 end as weight,
        case when takes then gpu_time_us else 0 end as taking_time_us
    from costs
    window
        by_cluster as (partition by hour_at, provider, account, cluster),
        by_account as (partition by hour_at, provider, account)
),

weighed as (
    select
        *,
        -- Where the allocated cost nothing, their GPU time is what is left to share by.
        case when sum(weight) over by_cluster > 0 then weight else taking_time_us end as cluster_weight,
        case when sum(weight) over by_account > 0 then weight else taking_time_us end as account_weight
    from pools
    window
        by_cluster as (partition by hour_at, provider, account, cluster),
        by_account as (partition by hour_at, provider, account)
),

summed as (
    select
        *,
        sum(cluster_weight) over (by_cluster rows unbounded preceding) as cluster_until,
        sum(cluster_weight) over (partition by hour_at, provider, account, cluster) as cluster_total,
        sum(account_weight) over (by_account rows unbounded preceding) as account_until,
        sum(account_weight) over (partition by hour_at, provider, account) as account_total
    from weighed
    window
        by_cluster as (
            partition by hour_at, provider, account, cluster
            order by node, gpu_sku, bucket, deployment, replica, origin, spread
        ),
        by_account as (
            partition by hour_at, provider, account
            order by cluster, node, gpu_sku, bucket, deployment, replica, origin, spread
        )
)

select
    hour_at,
    provider,
    account,
    cluster,
    bucket,
    node,
    gpu_sku,
    deployment,
    replica,
    origin,
    estimated,
    provisional,
    invoiced,
    effective,
    rung,
    cost_reasons,
    case
        when takes
            then
                effective
                + share_of(cluster_pool, cluster_weight, cluster_until, cluster_total)
                + share_of(account_pool, account_weight, account_until, account_total)
        when spread = 'cluster' and cluster_total > 0 and effective is not null then 0
        when spread = 'account' and account_total > 0 and effective is not null then 0
        else effective
    end as all_in
from summed
