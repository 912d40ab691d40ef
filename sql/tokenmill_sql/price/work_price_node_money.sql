-- One row per hour, provider and node that money reached: its amounts by rung, and whether all of them are known.
with reached as (
    select
        hour_at,
        provider,
        account,
        node,
        is_pool,
        coalesce(sum(reporting_trillionths) filter (cost_status = 'estimated_rate_card'), 0) as estimated,
        coalesce(sum(reporting_trillionths) filter (cost_status = 'provisional_bill'), 0) as provisional,
        coalesce(sum(reporting_trillionths) filter (cost_status = 'invoiced'), 0) as invoiced,
        min(rung) filter (reporting_trillionths is not null) as rung,
        bool_and(reporting_trillionths is not null) as is_known,
        reasons_of(list(reason)) as reasons
    from work_charge_lines
    where destination = 'gpus'
    group by all
),

-- A reservation is shared by its links, a pool by the GPU time of its nodes.
members as (
    select distinct
        r.hour_at,
        r.provider,
        r.account,
        r.node as pool,
        k.node,
        k.parts,
        k.parts_until,
        k.parts_total
    from reached as r
    inner join work_price_links as k
        on r.hour_at = k.hour_at and r.provider = k.provider and r.node = format('(pool {})', k.resource_id)
    where r.is_pool
    union all
    select
        hour_at,
        provider,
        account,
        pool,
        node,
        gpu_time_us as parts,
        sum(gpu_time_us) over (partition by hour_at, provider, account, pool order by node) as parts_until,
        sum(gpu_time_us) over (partition by hour_at, provider, account, pool) as parts_total
    from work_price_pool_nodes
),

spread as (
    select
        hour_at,
        provider,
        account,
        node,
        estimated,
        provisional,
        invoiced,
        rung,
        is_known,
        reasons
    from reached
    where not is_pool
    union all
    select
        r.hour_at,
        r.provider,
        r.account,
        m.node,
        share_of(r.estimated, m.parts, m.parts_until, m.parts_total) as estimated,
        share_of(r.provisional, m.parts, m.parts_until, m.parts_total) as provisional,
        share_of(r.invoiced, m.parts, m.parts_until, m.parts_total) as invoiced,
        r.rung,
        r.is_known,
        r.reasons
    from reached as r
    inner join members as m
        on r.hour_at = m.hour_at and r.provider = m.provider and r.account = m.account and r.node = m.pool
    where r.is_pool
)

select
    hour_at,
    provider,
    node,
    min(account) as account,
    sum(estimated) as estimated,
    sum(provisional) as provisional,
    sum(invoiced) as invoiced,
    min(rung) as rung,
    bool_and(is_known) as is_known,
    reasons_of(flatten(list(reasons))) as reasons
from spread
group by hour_at, provider, node
