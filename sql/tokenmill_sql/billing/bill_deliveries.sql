-- One row per provider, account and billing period of each file of a load: what becomes a delivery.
with kept as (
    select * from bill_charges where reason is null
),

-- Whether EffectiveCost can be the numerator is a matter of the exporter, so it is judged over a provider's whole file.
-- Purchases have 0 there by rule and say nothing.
judged as (
    select
        file_index,
        provider,
        account,
        count(*) filter (effective_cost is null) as missing_count,
        count(*) as row_count,
        bool_and(effective_cost = trunc(effective_cost)) filter (charge_category <> 'Purchase') as is_whole,
        bool_and(effective_cost = round(billed_cost, 0)) filter (
            charge_category <> 'Purchase' and billed_cost <> trunc(billed_cost)
        ) as is_rounded_billed,
        bool_and(effective_cost = 0) filter (charge_category <> 'Purchase' and billed_cost <> 0) as is_zero
    from kept
    group by all
),

numerators as (
    select
        file_index,
        provider,
        account,
        case
            when missing_count > 0
                then 'effective_cost_missing (' || missing_count || ' of ' || row_count || ' rows)'
            when is_whole and is_rounded_billed then 'effective_cost_rounded to whole units while billed_cost is not'
            when is_zero then 'effective_cost_zero where billed_cost is not'
        end as numerator_reason
    from judged
),

keys as (
    select
        file_index,
        provider,
        account,
        billing_period_start_at,
        billing_period_end_at,
        count(*) as row_count,
        -- Metered rows tell how far the data reach; a period that is still open reaches until now.
        max(least(charge_period_end_at, $now::timestamp)) filter (charge_category = 'Usage') as data_until_at
    from kept
    group by all
),

refused as (
    select file_index, provider, account, billing_period_start_at, count(*) as refused_count
    from bill_charges
    where reason is not null
    group by all
),

numbered as (
    select
        k.*,
        n.numerator_reason,
        row_number() over (partition by k.file_index order by k.provider, k.account, k.billing_period_start_at) = 1 as is_first
    from keys as k
    inner join numerators as n on k.file_index = n.file_index and k.provider = n.provider and k.account = n.account
)

-- A refused row counts for the delivery that it would have been in; one that does not say so, for the file's first.
select
    n.* exclude (is_first),
    coalesce(sum(r.refused_count) filter (r.billing_period_start_at is not distinct from n.billing_period_start_at), 0)::bigint
        as rejected_row_count,
    n.is_first
from numbered as n
left join refused as r
    on n.file_index = r.file_index and n.provider = r.provider and n.account = r.account
        and n.billing_period_start_at = r.billing_period_start_at
group by all
