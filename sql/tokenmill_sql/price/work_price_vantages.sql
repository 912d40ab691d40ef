-- One row per hour and deployment with a server: which vantage is counted, whether its front end's tokens are matched, and
-- why its units have none.
select
    t.hour_at,
    'serving' as bucket,
    t.cluster,
    t.deployment,
    bool_or(f.hour_at is not null) as is_frontend_counted,
    bool_or(coalesce(f.is_matched, false)) as is_frontend_matched,
    bool_or(coalesce(f.is_energy_matched, false)) as is_frontend_energy_matched,
    reasons_of(
        list_filter(
            flatten(list(coalesce(t.reasons, []))),
            lambda reason: reason in ('vantage_incomplete', 'vantages_differ', 'gpu_fell_silent')
        )
    ) as reasons
from hourly.unit_tokens as t
semi join work_hours as h on t.hour_at = h.hour_at
left join work_price_frontends as f on t.hour_at = f.hour_at and t.cluster = f.cluster and t.deployment = f.deployment
group by t.hour_at, t.cluster, t.deployment
