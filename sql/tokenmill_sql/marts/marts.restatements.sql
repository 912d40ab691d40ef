-- view: One row per hour and revision after the first: what it changed, and why.
with figures as (
    select
        e.hour_at,
        e.revision,
        min(e.currency) as currency,
        sum(e.effective_cost) as effective_cost,
        sum(e.total_tokens)::bigint as total_tokens,
        sum(e.gpu_energy_joules) as gpu_energy_joules,
        sum(e.gpu_seconds_paid) as gpu_seconds_paid,
        sum(e.matched_effective_cost) as matched_effective_cost,
        sum(e.cost_matched_tokens)::bigint as cost_matched_tokens,
        bool_or(e.simulated) as simulated
    from hourly.unit_economics as e
    semi join (select distinct hour_at from hourly.revisions where revision > 1) as r on e.hour_at = r.hour_at
    group by e.hour_at, e.revision
)

select
    r.hour_at,
    r.revision,
    r.recorded_at,
    r.cause,
    r.is_restatement,
    r.hour_state,
    n.currency,
    o.effective_cost as old_effective_cost,
    n.effective_cost as new_effective_cost,
    o.total_tokens as old_total_tokens,
    n.total_tokens as new_total_tokens,
    o.gpu_energy_joules as old_gpu_energy_joules,
    n.gpu_energy_joules as new_gpu_energy_joules,
    gpu_hours(o.gpu_seconds_paid) as old_gpu_hours_paid,
    gpu_hours(n.gpu_seconds_paid) as new_gpu_hours_paid,
    per_million(o.matched_effective_cost, o.cost_matched_tokens) as old_cost_per_million_tokens,
    per_million(n.matched_effective_cost, n.cost_matched_tokens) as new_cost_per_million_tokens,
    p.telemetry_digest <> r.telemetry_digest as is_telemetry_changed,
    p.billing_digest <> r.billing_digest as is_billing_changed,
    p.reference_digest <> r.reference_digest as is_reference_changed,
    coalesce(n.simulated, o.simulated, false) as simulated
from hourly.revisions as r
inner join hourly.revisions as p on r.hour_at = p.hour_at and p.revision = r.revision - 1
left join figures as n on r.hour_at = n.hour_at and r.revision = n.revision
left join figures as o on p.hour_at = o.hour_at and p.revision = o.revision
