-- One row per hour, provider and account that a delivery reaches into: how far, and whether its period is closed.
with deliveries as (
    select *
    from billing.deliveries
    where
        superseded_at is null
        and billing_period_start_at < getvariable('batch_until')
        and billing_period_end_at > getvariable('batch_from')
),

-- A file that does not say how far it reaches reaches as far as its rows, and never past the time it was loaded.
last_charges as (
    select
        c.delivery_id,
        max(c.charge_period_end_at) as last_charge_at
    from billing.charges as c
    semi join (select delivery_id from deliveries where data_until_at is null and not is_closed) as d
        on c.delivery_id = d.delivery_id
    group by c.delivery_id
),

spans as (
    select
        d.provider,
        d.account,
        d.billing_period_start_at,
        d.billing_period_end_at,
        d.is_closed,
        case
            when d.is_closed then d.billing_period_end_at
            when d.data_until_at is not null then least(d.data_until_at, d.billing_period_end_at)
            when l.last_charge_at is not null
                then least(l.last_charge_at, d.loaded_at, d.billing_period_end_at)
        end as covered_until_at
    from deliveries as d
    left join last_charges as l on d.delivery_id = l.delivery_id
)

select
    h.hour_at,
    s.provider,
    s.account,
    coalesce(
        max(
            overlap_us(
                epoch_us(s.billing_period_start_at),
                epoch_us(s.covered_until_at),
                epoch_us(h.hour_at),
                epoch_us(h.hour_at) + hour_us()
            )
        ) filter (s.covered_until_at is not null),
        0
    ) as covered_us,
    bool_or(s.is_closed) as is_closed,
    max(s.billing_period_end_at) as billing_period_end_at
from work_hours as h
inner join spans as s
    on
        s.billing_period_start_at < h.hour_at + interval 1 hour
        and s.billing_period_end_at > h.hour_at
group by h.hour_at, s.provider, s.account
