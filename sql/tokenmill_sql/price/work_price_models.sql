-- One row per hour, cluster, deployment and served name of the batch: the canonical model, else the name itself.
with wanted as (
    select distinct
        hour_at,
        cluster,
        deployment,
        model_served
    from work_price_use
    where bucket = 'serving'
    union
    select distinct
        hour_at,
        cluster,
        deployment,
        model_served
    from hourly.unit_tokens
    semi join work_hours using (hour_at)
)

-- The alias that names more wins: an exact cluster, then the longer pattern, then an exact name, then the newer one.
select
    w.hour_at,
    'serving' as bucket,
    w.cluster,
    w.deployment,
    w.model_served,
    coalesce(
        max_by(
            a.model,
            (
                a.cluster <> '*',
                length(replace(a.deployment_pattern, '*', '')),
                a.model_served <> '*',
                a.valid_from_at,
                a.deployment_pattern
            )
        ),
        w.model_served
    ) as model
from wanted as w
left join fleet.model_aliases as a
    on
        a.valid_from_at <= w.hour_at
        and a.cluster in (w.cluster, '*')
        and w.deployment glob a.deployment_pattern
        and a.model_served in (w.model_served, '*')
group by w.hour_at, w.cluster, w.deployment, w.model_served
