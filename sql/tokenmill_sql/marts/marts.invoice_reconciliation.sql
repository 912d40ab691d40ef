-- view: One row per provider, account, invoice, billing period and currency: what it bills, to hold beside the invoice.
select
    c.provider,
    c.account,
    coalesce(c.invoice_id, '(none)') as invoice_id,
    c.billing_period_start_at,
    c.billing_currency,
    sum(c.billed_cost) as billed_cost,
    sum(c.billed_cost) filter (c.charge_class = 'Correction') as corrections_cost,
    count(*) as row_count,
    min(c.charge_period_start_at) as charge_period_start_at,
    max(c.charge_period_end_at) as charge_period_end_at,
    bool_or(d.is_closed) as is_closed
from billing.charges as c
inner join billing.deliveries as d on c.delivery_id = d.delivery_id
where d.superseded_at is null
group by all
