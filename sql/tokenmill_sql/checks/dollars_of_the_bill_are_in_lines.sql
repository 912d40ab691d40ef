-- fail: the hour's part of every current charge stands in a charge line
with charges as (
    select
        c.provider,
        c.billing_currency,
        case d.numerator when 'effective' then c.effective_cost else c.billed_cost end::double as amount,
        epoch_us(c.charge_period_start_at) as from_us,
        charged_until_us(c.charge_category, c.charge_period_start_at, c.charge_period_end_at, d.data_until_at) as until_us
    from billing.charges as c
    inner join billing.deliveries as d on c.delivery_id = d.delivery_id
    where
        d.superseded_at is null
        and c.charge_period_start_at < getvariable('batch_until')
        and c.charge_period_end_at >= getvariable('batch_from')
),

sides as (
    select
        h.hour_at,
        c.provider,
        c.billing_currency,
        c.amount
        * overlap_us(c.from_us, c.until_us, epoch_us(h.hour_at), epoch_us(h.hour_at) + hour_us())
        / (c.until_us - c.from_us) as charged,
        0 as lined
    from charges as c
    inner join work_hours as h
        on c.from_us < epoch_us(h.hour_at) + hour_us() and c.until_us > epoch_us(h.hour_at)
    union all
    select
        hour_at,
        provider,
        billing_currency,
        0 as charged,
        numerator_cost::double as lined
    from work_charge_lines
    where not is_estimate
)

select
    hour_at,
    provider,
    format('charges of {} {} reach the hour, its lines hold {}', sum(charged), billing_currency, sum(lined)) as detail
from sides
group by hour_at, provider, billing_currency
having abs(sum(charged) - sum(lined)) > greatest(1e-9 * sum(abs(lined)), 1e-9)
