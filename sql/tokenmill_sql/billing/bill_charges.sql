-- One row per row of a bill's file: the charge that it is, what is odd about it, and why it is refused where it is.
-- `bill_texts` has the FOCUS columns as text, `bill_providers` says how a provider is called here; the variables
-- bill_provider, bill_account and bill_currency stand in where the file does not say.
with named as (
    select
        t.* exclude (availability_zone, billing_currency),
        coalesce(
            t.service_provider_name, t.provider_name, getvariable('bill_provider')::varchar, t.invoice_issuer_name
        ) as provider_text,
        coalesce(trim(t.billing_account_id), getvariable('bill_account')::varchar) as account,
        if(c.code is null, coalesce(t.billing_currency, getvariable('bill_currency')::varchar), c.code) as billing_currency,
        t.billing_currency is null as is_currency_assumed,
        t.billing_currency is not null and c.code is null as is_currency_virtual,
        t.pricing_currency is not null and pc.code is null as is_pricing_virtual,
        try_cast(t.availability_zone as double) is not null as is_zone_number,
        -- A number is no zone: one provider writes the unit price there.
        if(is_zone_number, null, t.availability_zone) as availability_zone
    from bill_texts as t
    left join bill_currencies as c on upper(trim(t.billing_currency)) = c.code
    left join bill_currencies as pc on upper(trim(t.pricing_currency)) = pc.code
),

typed as (
    select
        n.*,
        coalesce(p.provider, n.provider_text) as provider,
        bill_category(n.charge_category_text) as charge_category,
        bill_class(n.charge_class_text) as charge_class,
        bill_frequency(n.charge_frequency_text) as charge_frequency,
        bill_use(n.commitment_discount_status_text) as commitment_discount_status,
        bill_use(n.capacity_reservation_status_text) as capacity_reservation_status,
        bill_time(n.charge_period_start_text) as charge_period_start_at,
        bill_time(n.charge_period_end_text) as charge_period_end_at,
        -- A file without billing periods is taken to bill the calendar month of the charge.
        if(
            n.billing_period_start_text is null,
            date_trunc('month', charge_period_start_at)::timestamp,
            bill_time(n.billing_period_start_text)
        ) as billing_period_start_at,
        if(
            n.billing_period_end_text is null,
            (date_trunc('month', billing_period_start_at) + interval 1 month)::timestamp,
            bill_time(n.billing_period_end_text)
        ) as billing_period_end_at,
        bill_amount(n.billed_cost_text) as billed_cost,
        bill_amount(n.effective_cost_text) as effective_cost,
        bill_amount(n.list_cost_text) as list_cost,
        bill_amount(n.contracted_cost_text) as contracted_cost,
        bill_amount(n.consumed_quantity_text) as consumed_quantity,
        bill_amount(n.pricing_quantity_text) as pricing_quantity,
        coalesce(
            n.instance_type_text,
            bill_instance_in_properties(n.sku_price_details),
            bill_instance_in_properties(n.sku_details_text),
            bill_instance_in_usage(n.usage_type_text),
            -- A sentence names a machine for many reasons; only where hours are billed is it the machine.
            if(
                lower(coalesce(n.consumed_unit, n.pricing_unit)) in ('hours', 'hour', 'hrs', 'hr'),
                bill_instance_in_words(n.charge_description),
                null
            )
        ) as instance_type
    from named as n
    left join bill_providers as p on n.provider_text = p.name
),

judged as (
    select
        t.*,
        case
            when charge_period_start_text is null or charge_period_end_text is null then 'charge_period_missing'
            -- A year outside of these is a date that was read wrongly.
            when not coalesce(year(charge_period_start_at) between 2000 and 2199, false)
                or not coalesce(year(charge_period_end_at) between 2000 and 2199, false)
                or not coalesce(year(billing_period_start_at) between 2000 and 2199, false)
                or not coalesce(year(billing_period_end_at) between 2000 and 2199, false) then 'time_impossible'
            when charge_period_end_at <= charge_period_start_at then 'charge_period_empty'
            when billing_period_end_at <= billing_period_start_at then 'billing_period_empty'
            when charge_category is null then 'charge_category_missing'
            when charge_category not in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment') then 'charge_category_unknown'
            when billed_cost_text is null then 'billed_cost_missing'
            when billed_cost is null or (effective_cost is null and effective_cost_text is not null) then 'amount_unreadable'
            when provider is null then 'provider_missing'
            when account is null then 'account_missing'
            when billing_currency is null then 'currency_missing'
        end as reason,
        list_filter(
            [
                if(coalesce(service_provider_name, provider_name) is null, 'provider_assumed', null),
                if(billing_account_id is null, 'account_assumed', null),
                if(is_currency_assumed, 'currency_assumed', null),
                if(billing_period_start_text is null, 'billing_period_assumed', null),
                if(
                    not (
                        bill_has_zone(charge_period_start_text) and bill_has_zone(charge_period_end_text)
                        and bill_has_zone(billing_period_start_text) and bill_has_zone(billing_period_end_text)
                    ),
                    'time_without_zone',
                    null
                ),
                if(
                    contains(concat(charge_period_start_text, charge_period_end_text, billing_period_start_text), '/'),
                    'date_month_first',
                    null
                ),
                if(
                    regexp_matches(
                        concat(billed_cost_text, effective_cost_text, list_cost_text, contracted_cost_text), '[$€£¥,()]'
                    ),
                    'money_text',
                    null
                ),
                if(
                    bill_is_rounded(billed_cost_text) or bill_is_rounded(effective_cost_text)
                    or bill_is_rounded(list_cost_text) or bill_is_rounded(contracted_cost_text)
                    or bill_is_rounded(consumed_quantity_text) or bill_is_rounded(pricing_quantity_text),
                    'amount_rounded',
                    null
                ),
                if(
                    (list_cost is null and list_cost_text is not null)
                    or (contracted_cost is null and contracted_cost_text is not null)
                    or (consumed_quantity is null and consumed_quantity_text is not null)
                    or (pricing_quantity is null and pricing_quantity_text is not null),
                    'amount_unreadable',
                    null
                ),
                if(
                    charge_category <> charge_category_text or charge_class <> charge_class_text
                    or charge_frequency <> charge_frequency_text
                    or commitment_discount_status <> commitment_discount_status_text
                    or capacity_reservation_status <> capacity_reservation_status_text,
                    'case_folded',
                    null
                ),
                -- A price of 0 is no price: what was billed was not free.
                if(
                    charge_category = 'Usage' and billed_cost > 0 and (list_cost = 0 or contracted_cost = 0),
                    'price_zero',
                    null
                ),
                if(
                    charge_category = 'Usage' and contracted_cost <> 0 and abs(contracted_cost) * 2 < abs(billed_cost),
                    'contracted_cost_below_billed',
                    null
                ),
                if(is_zone_number, 'zone_is_number', null),
                if(billed_cost < 0 or effective_cost < 0, 'negative_cost', null),
                if(effective_cost_text is null, 'effective_cost_missing', null),
                if(charge_category = 'Purchase' and effective_cost <> 0, 'purchase_effective_not_zero', null),
                if(is_currency_virtual, 'virtual_currency', null),
                if(is_pricing_virtual, 'virtual_pricing_currency', null)
            ],
            lambda flag: flag is not null
        ) as flags
    from typed as t
)

select
    row_number,
    provider,
    account,
    sub_account,
    invoice_id,
    billing_period_start_at,
    billing_period_end_at,
    charge_period_start_at,
    charge_period_end_at,
    charge_category,
    charge_class,
    charge_frequency,
    charge_description,
    service_category,
    service_name,
    sku_id,
    sku_price_id,
    sku_meter,
    sku_price_details,
    instance_type,
    region_id,
    availability_zone,
    resource_id,
    resource_name,
    resource_type,
    tags,
    commitment_discount_id,
    commitment_discount_status,
    capacity_reservation_id,
    capacity_reservation_status,
    consumed_quantity,
    consumed_unit,
    pricing_quantity,
    pricing_unit,
    billing_currency,
    billed_cost,
    effective_cost,
    list_cost,
    contracted_cost,
    flags,
    reason,
    case reason
        when 'time_impossible' then concat_ws(
            ', ',
            'ChargePeriodStart ' || charge_period_start_text,
            'ChargePeriodEnd ' || charge_period_end_text,
            'BillingPeriodStart ' || billing_period_start_text,
            'BillingPeriodEnd ' || billing_period_end_text
        )
        when 'charge_period_empty' then concat_ws(
            ', ', 'ChargePeriodStart ' || charge_period_start_text, 'ChargePeriodEnd ' || charge_period_end_text
        )
        when 'billing_period_empty' then concat_ws(
            ', ', 'BillingPeriodStart ' || billing_period_start_text, 'BillingPeriodEnd ' || billing_period_end_text
        )
        when 'charge_category_unknown' then 'ChargeCategory ' || charge_category_text
        when 'amount_unreadable' then concat_ws(
            ', ', 'BilledCost ' || billed_cost_text, 'EffectiveCost ' || effective_cost_text
        )
        else replace(reason, '_', ' ')
    end as detail,
    if(reason is null, null, left(to_json(source_row)::varchar, getvariable('bill_payload_characters_max')::integer)) as payload
from judged
