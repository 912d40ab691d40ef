-- view: One row per provider, account, day, view and currency: the charges, where they went, and what is left over.
-- The view 'effective' holds the lines of built hours; 'billed' holds whole rows on the day on which they begin.
with facts as (
    select
        e.provider,
        e.account,
        e.hour_at::date as day,
        e.currency,
        sum(e.effective_cost) filter (e.bucket = 'serving') as serving,
        sum(e.effective_cost) filter (e.bucket = 'idle') as idle,
        sum(e.effective_cost) filter (e.bucket = 'unattributed') as unattributed,
        sum(e.effective_cost) filter (e.bucket = 'unobserved') as unobserved,
        sum(e.effective_cost) filter (e.bucket = 'unused_commitment') as unused_commitment,
        sum(e.effective_cost) filter (e.bucket = 'overhead') as overhead,
        sum(e.effective_cost) filter (e.bucket = 'unallocated') as unallocated,
        sum(e.effective_cost) as accounted,
        bool_or(e.simulated) as simulated
    from hourly.unit_economics as e
    inner join hourly.revisions as r
        on e.hour_at = r.hour_at and e.revision = r.revision and r.superseded_at is null
    group by all
),

charged as (
    select
        provider,
        account,
        hour_at::date as day,
        reporting_currency as currency,
        sum(reporting_cost) as charges,
        sum(reporting_cost) filter (is_estimate) as estimated
    from hourly.charge_lines
    where reporting_cost is not null
    group by all
),

-- What no rate converts is shown in its own currency, whole.
unconverted as (
    select
        provider,
        account,
        hour_at::date as day,
        billing_currency as currency,
        sum(numerator_cost)::double as charges
    from hourly.charge_lines
    where reporting_cost is null and numerator_cost is not null
    group by all
),

billed as (
    select
        c.provider,
        c.account,
        c.charge_period_start_at::date as day,
        c.billing_currency as currency,
        sum(c.billed_cost)::double as charges,
        sum(c.billed_cost) filter (
            c.charge_category = 'Usage'
            and coalesce(c.commitment_discount_status, '') <> 'Unused'
            and coalesce(c.capacity_reservation_status, '') <> 'Unused'
        )::double as usage,
        sum(c.billed_cost) filter (
            c.charge_category = 'Usage'
            and (c.commitment_discount_status = 'Unused' or c.capacity_reservation_status = 'Unused')
        )::double as unused_commitment,
        sum(c.billed_cost) filter (c.charge_category = 'Purchase')::double as purchases,
        sum(c.billed_cost) filter (c.charge_category in ('Tax', 'Credit', 'Adjustment'))::double as overhead
    from billing.charges as c
    inner join billing.deliveries as d on c.delivery_id = d.delivery_id
    where d.superseded_at is null
    group by all
),

all_views as (
    select
        coalesce(c.provider, f.provider) as provider,
        coalesce(c.account, f.account) as account,
        coalesce(c.day, f.day) as day,
        'effective' as view,
        coalesce(c.currency, f.currency) as currency,
        coalesce(c.charges, 0) as charges,
        c.estimated,
        f.serving,
        f.idle,
        f.unattributed,
        f.unobserved,
        f.unused_commitment,
        f.overhead,
        f.unallocated,
        coalesce(c.charges, 0) - coalesce(f.accounted, 0) as residual,
        coalesce(f.simulated, false) as simulated
    from charged as c
    full join facts as f
        on c.provider = f.provider and c.account = f.account and c.day = f.day and c.currency = f.currency
    where c.charges is not null or f.accounted is not null
    union all by name
    select
        provider,
        account,
        day,
        'effective' as view,
        currency,
        charges,
        charges as unconverted,
        0 as residual,
        false as simulated
    from unconverted
    union all by name
    select
        provider,
        account,
        day,
        'billed' as view,
        currency,
        charges,
        usage,
        purchases,
        unused_commitment,
        overhead,
        charges
        - coalesce(usage, 0)
        - coalesce(purchases, 0)
        - coalesce(unused_commitment, 0)
        - coalesce(overhead, 0) as residual,
        false as simulated
    from billed
)

select
    provider,
    account,
    day,
    view,
    currency,
    charges as charges_cost,
    estimated as estimated_cost,
    serving as serving_cost,
    idle as idle_cost,
    unattributed as unattributed_cost,
    unobserved as unobserved_cost,
    usage as usage_cost,
    purchases as purchases_cost,
    unused_commitment as unused_commitment_cost,
    overhead as overhead_cost,
    unallocated as unallocated_cost,
    unconverted as unconverted_cost,
    -- What summing in floating point leaves behind is no money.
    case when abs(residual) <= 1e-9 * greatest(abs(charges), 1) then 0 else residual end as residual_cost,
    simulated
from all_views
