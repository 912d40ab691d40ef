-- One row per hour, charge and what it reached, and one per estimate: hourly.charge_lines with exact amounts beside.
with billed as (
    select
        c.hour_at,
        c.delivery_id,
        c.row_number,
        c.provider,
        c.account,
        coalesce(n.cluster, '(none)') as cluster,
        t.node,
        t.is_pool,
        coalesce(n.gpu_sku, t.gpu_sku) as gpu_sku,
        case
            when t.match_level <> 'none' and c.line = 'purchase' then 'usage'
            when t.match_level <> 'none' or c.line in ('unused_commitment', 'unused_capacity', 'credit', 'adjustment')
                then c.line
            when c.line in ('overhead', 'purchase') then 'overhead'
            -- What every machine of the account shares; a machine that nobody knows stays unallocated.
            when
                lower(c.service_category) in ('storage', 'networking')
                or contains(lower(coalesce(c.service_name, '')), 'support')
                then 'overhead'
            else 'unallocated'
        end as line,
        t.match_level,
        case t.match_level
            when 'resource' then 'link_share'
            when 'pool' then 'link_share'
            when 'account_sku_region' then 'gpu_seconds'
            else 'none'
        end as spread_basis,
        c.charge_category,
        c.invoice_id,
        c.cost_status,
        false as is_estimate,
        c.numerator,
        c.overlap_us,
        c.billing_currency,
        share_of(c.numerator_trillionths, t.parts, t.parts_until, t.parts_total) as numerator_trillionths,
        share_of(c.list_trillionths, t.parts, t.parts_until, t.parts_total) as list_trillionths,
        case when c.numerator_trillionths is null then 'amount_missing' end as reason
    from work_price_charges as c
    inner join work_price_targets as t
        on c.hour_at = t.hour_at and c.delivery_id = t.delivery_id and c.row_number = t.row_number
    left join work_price_nodes as n
        on c.hour_at = n.hour_at and c.provider = n.provider and t.node = n.node
),

estimated as (
    select
        hour_at,
        '(estimate)' as delivery_id,
        row_number,
        provider,
        account,
        cluster,
        node,
        false as is_pool,
        gpu_sku,
        'usage' as line,
        'resource' as match_level,
        'rate_card' as spread_basis,
        'Usage' as charge_category,
        '(none)' as invoice_id,
        'estimated_rate_card' as cost_status,
        true as is_estimate,
        'rate_card' as numerator,
        uncovered_us as overlap_us,
        currency as billing_currency,
        numerator_trillionths,
        null::hugeint as list_trillionths,
        case when rate is null then 'rate_missing' end as reason
    from work_price_estimates
),

lines as (
    select * from billed
    union all by name
    select * from estimated
),

converted as (
    select
        l.*,
        case
            when l.billing_currency = getvariable('reporting_currency') then l.numerator_trillionths
            else round(l.numerator_trillionths::double * r.rate)::hugeint
        end as reporting_trillionths,
        case
            when l.reason is not null then l.reason
            when r.rate is not null then null
            when regexp_full_match(l.billing_currency, '[A-Z]{3}') then 'no_exchange_rate'
            else 'virtual_currency'
        end as missing
    from lines as l
    left join work_price_rates as r on l.hour_at = r.hour_at and l.billing_currency = r.currency
)

select
    hour_at,
    delivery_id,
    row_number,
    provider,
    account,
    cluster,
    node,
    gpu_sku,
    line,
    match_level,
    spread_basis,
    charge_category,
    invoice_id,
    cost_status,
    is_estimate,
    numerator,
    overlap_us,
    billing_currency,
    trillionths_money(numerator_trillionths) as numerator_cost,
    trillionths_money(list_trillionths) as list_cost,
    getvariable('reporting_currency') as reporting_currency,
    money_of(reporting_trillionths) as reporting_cost,
    missing as reason,
    ---------- only for the models behind this one
    is_pool,
    reporting_trillionths,
    case cost_status when 'estimated_rate_card' then 1 when 'provisional_bill' then 2 else 3 end as rung,
    -- Whose money it is: the holders of a node's GPUs, or a bucket of its own.
    case
        when line in ('usage', 'adjustment') and match_level <> 'none' then 'gpus'
        when line = 'unallocated' then 'unallocated'
        when line in ('unused_commitment', 'unused_capacity') then 'unused_commitment'
        else 'overhead'
    end as destination
from converted
