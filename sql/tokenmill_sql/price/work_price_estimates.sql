-- One row per hour, node and product of which no delivery covers the whole hour: its GPU time times the rate card.
with uncovered as (
    select
        u.hour_at,
        u.provider,
        u.account,
        u.node,
        u.gpu_sku,
        min(u.region) as region,
        min(u.instance_type) as instance_type,
        min(u.cluster) as cluster,
        hour_us() - coalesce(any_value(c.covered_us), 0) as uncovered_us,
        sum(u.gpu_time_us)::bigint as gpu_time_us
    from work_price_use as u
    left join work_price_coverage as c
        on u.hour_at = c.hour_at and u.provider = c.provider and u.account = c.account
    where
        -- A node that does not know its account may be on any bill of its provider.
        not (
            u.account in ('(none)', '(unknown)')
            and exists (
                select 1
                from work_price_coverage as other
                where other.hour_at = u.hour_at and other.provider = u.provider and other.covered_us > 0
            )
        )
    group by u.hour_at, u.provider, u.account, u.node, u.gpu_sku
    having coalesce(any_value(c.covered_us), 0) < hour_us()
),

cards as (
    select
        h.hour_at,
        p.scope,
        max_by(p, p.valid_from_at) as card
    from reference.prices as p
    inner join work_hours as h on p.valid_from_at <= h.hour_at
    where p.kind = 'rate_card'
    group by all
),

-- The rate that names more of a machine wins: its account, then its type, then its product, then its region.
best as (
    select
        u.hour_at,
        u.provider,
        u.account,
        u.node,
        u.gpu_sku,
        max_by(
            c.card,
            (
                c.card.account is not null,
                c.card.instance_type is not null,
                c.card.gpu_sku is not null,
                c.card.region is not null,
                c.card.provider is not null,
                c.card.valid_from_at,
                c.scope
            )
        ) as card
    from uncovered as u
    inner join cards as c
        on
            u.hour_at = c.hour_at
            and coalesce(c.card.provider, u.provider) = u.provider
            and coalesce(c.card.account, u.account) = u.account
            and coalesce(c.card.instance_type, u.instance_type) = u.instance_type
            and coalesce(c.card.gpu_sku, u.gpu_sku) = u.gpu_sku
            and coalesce(c.card.region, u.region) = u.region
    group by all
),

priced as (
    select
        u.*,
        b.card
    from uncovered as u
    left join best as b using (hour_at, provider, account, node, gpu_sku)
)

select
    hour_at,
    provider,
    account,
    cluster,
    node,
    gpu_sku,
    gpu_time_us,
    uncovered_us,
    card.amount as rate,
    coalesce(card.currency, getvariable('reporting_currency')) as currency,
    money_trillionths(
        round(gpu_time_us::double / hour_us() * (uncovered_us / hour_us()) * card.amount, 12)::decimal(38, 12)
    ) as numerator_trillionths,
    -- Several products on one node are several estimates of one node.
    row_number() over (partition by hour_at, provider, node order by gpu_sku) - 1 as row_number
from priced
