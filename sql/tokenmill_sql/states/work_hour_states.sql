-- One row per built hour of the batch: open, settled or final, by the deliveries and rate cards of its accounts.
with accounts as (
    select
        e.hour_at,
        e.provider,
        e.account,
        bool_or(e.estimated_cost is not null and e.estimated_cost <> 0) as has_estimate,
        sum(e.gpu_seconds_paid) > 0 or count(e.effective_cost) > 0 as has_money
    from hourly.unit_economics as e
    inner join hourly.revisions as r
        on e.hour_at = r.hour_at and e.revision = r.revision and r.superseded_at is null
    semi join work_hours as h on e.hour_at = h.hour_at
    where e.hour_at >= getvariable('batch_from') and e.hour_at < getvariable('batch_until')
    group by all
),

-- An account that never sent a bill and has a rate card is not waited for.
billed as (
    select distinct
        provider,
        account
    from billing.deliveries
),

waited as (
    select
        a.*,
        b.account is not null as is_billed,
        coalesce(c.covered_us, 0) >= hour_us() as is_covered,
        coalesce(c.is_closed, false) as is_closed,
        -- Nobody waits for a period's bill for ever.
        getvariable('price_now')
        >= coalesce(c.billing_period_end_at, a.hour_at + interval 1 hour)
        + to_days(getvariable('close_after_days')::integer) as is_over
    from accounts as a
    left join billed as b on a.provider = b.provider and a.account = b.account
    left join work_price_coverage as c
        on a.hour_at = c.hour_at and a.provider = c.provider and a.account = c.account
),

judged as (
    select
        hour_at,
        case when not has_money then true when is_billed then is_covered or is_closed or is_over else has_estimate end as is_settled,
        is_closed or is_over or not has_money as is_closed
    from waited
)

select
    hour_at,
    case
        when bool_and(is_settled) and bool_and(is_closed) then 'final'
        when bool_and(is_settled) then 'settled'
        else 'open'
    end as hour_state
from judged
group by hour_at
