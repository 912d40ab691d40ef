-- One row per hour and currency that a bill or a rate card of the batch is in: its rate into the reporting currency.
with wanted as (
    select distinct
        hour_at,
        billing_currency as currency
    from work_price_charges
    union
    select distinct
        h.hour_at,
        p.currency
    from work_hours as h
    cross join (select distinct currency from reference.prices where kind = 'rate_card' and currency is not null) as p
)

select
    w.hour_at,
    w.currency,
    case when w.currency = getvariable('reporting_currency') then 1 else arg_max(p.amount, p.valid_from_at) end as rate
from wanted as w
left join reference.prices as p
    on
        p.kind = 'exchange_rate'
        and p.currency = w.currency
        and p.to_currency = getvariable('reporting_currency')
        and p.valid_from_at <= w.hour_at
group by w.hour_at, w.currency
