-- One row per hour and charge of a current delivery that overlaps it: the hour's part, exact to a trillionth.
with charges as (
    select
        c.delivery_id,
        c.row_number,
        c.provider,
        c.account,
        c.sub_account,
        c.invoice_id,
        c.charge_category,
        c.service_category,
        c.service_name,
        c.instance_type,
        c.sku_id,
        c.region_id,
        c.resource_id,
        c.capacity_reservation_id,
        c.billing_currency,
        d.numerator,
        case when c.invoice_id is not null or d.is_closed then 'invoiced' else 'provisional_bill' end as cost_status,
        case
            when c.charge_category = 'Tax' then 'overhead'
            when c.charge_category = 'Credit' then 'credit'
            when c.commitment_discount_status = 'Unused' then 'unused_commitment'
            when c.capacity_reservation_status = 'Unused' then 'unused_capacity'
            when c.charge_category = 'Adjustment' then 'adjustment'
            when c.charge_category = 'Purchase' then 'purchase'
            else 'usage'
        end as line,
        epoch_us(c.charge_period_start_at) as from_us,
        charged_until_us(c.charge_category, c.charge_period_start_at, c.charge_period_end_at, d.data_until_at) as until_us,
        money_trillionths(case d.numerator when 'effective' then c.effective_cost else c.billed_cost end) as numerator_amount,
        -- The list price of a purchase and that of the usage it covers are the same money twice.
        case when c.charge_category <> 'Purchase' then money_trillionths(c.list_cost) end as list_amount,
        coalesce(
            c.consumed_quantity::double * hours_per_unit(c.consumed_unit),
            c.pricing_quantity::double * hours_per_unit(c.pricing_unit)
        ) as billed_hours,
        is_gpu_unit(coalesce(c.consumed_unit, c.pricing_unit)) as is_gpu_time
    from billing.charges as c
    inner join billing.deliveries as d on c.delivery_id = d.delivery_id
    where
        d.superseded_at is null
        and c.charge_period_start_at < getvariable('batch_until')
        and c.charge_period_end_at >= getvariable('batch_from')
),

parts as (
    select
        h.hour_at,
        c.*,
        greatest(c.from_us, epoch_us(h.hour_at)) as part_from_us,
        least(c.until_us, epoch_us(h.hour_at) + hour_us()) as part_until_us
    from charges as c
    inner join work_hours as h
        on c.from_us < epoch_us(h.hour_at) + hour_us() and c.until_us > epoch_us(h.hour_at)
)

select
    hour_at,
    delivery_id,
    row_number,
    provider,
    account,
    sub_account,
    coalesce(invoice_id, '(none)') as invoice_id,
    charge_category,
    service_category,
    service_name,
    instance_type,
    sku_id,
    region_id,
    resource_id,
    capacity_reservation_id,
    billing_currency,
    numerator,
    cost_status,
    line,
    part_until_us - part_from_us as overlap_us,
    spread_money_before(numerator_amount, from_us, until_us, part_until_us)
    - spread_money_before(numerator_amount, from_us, until_us, part_from_us) as numerator_trillionths,
    spread_money_before(list_amount, from_us, until_us, part_until_us)
    - spread_money_before(list_amount, from_us, until_us, part_from_us) as list_trillionths,
    -- No row bills ten million machines for an hour; what claims to is bounded, not believed.
    case
        when billed_hours is not null
            then
                round(
                    greatest(least(billed_hours, 1e7), -1e7)
                    * hour_us()
                    * ((part_until_us - part_from_us) / (until_us - from_us))
                )
    end::bigint as billed_us,
    is_gpu_time
from parts
