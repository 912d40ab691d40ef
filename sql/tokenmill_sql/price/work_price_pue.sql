-- One row per hour, provider, account and region of the batch: the facility's overhead factor, where one is stated.
with wanted as (
    select distinct
        hour_at,
        provider,
        account,
        region
    from work_price_use
),

stated as (
    select
        h.hour_at,
        p.scope,
        max_by(p, p.valid_from_at) as price
    from reference.prices as p
    inner join work_hours as h on p.valid_from_at <= h.hour_at
    where p.kind = 'pue'
    group by all
)

select
    w.hour_at,
    w.provider,
    w.account,
    w.region,
    max_by(
        s.price,
        (
            s.price.account is not null,
            s.price.region is not null,
            s.price.provider is not null,
            s.price.valid_from_at,
            s.scope
        )
    ) as price
from wanted as w
inner join stated as s
    on
        w.hour_at = s.hour_at
        and coalesce(s.price.provider, w.provider) = w.provider
        and coalesce(s.price.account, w.account) = w.account
        and coalesce(s.price.region, w.region) = w.region
        -- A site that no node names cannot be told apart from another.
        and s.price.site is null
group by w.hour_at, w.provider, w.account, w.region
