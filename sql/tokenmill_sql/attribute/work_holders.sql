-- One row per cell and holder, the last one being what nobody holds: whose time it is, and from which to which part of the
-- cell. A GPU that works though nobody is known to hold it is unattributed, never idle; outside all looks it is unobserved.
with looked as (
    select
        gpu_uuid,
        node,
        min(epoch_us(valid_from_at)) as from_us,
        max(epoch_us(last_seen_at)) as to_us
    from fleet.placement_intervals
    group by all
),

holders as (
    select
        c.hour_at,
        c.gpu_uuid,
        c.node,
        c.from_us,
        case
            when p.deployment <> '(none)' and p.replica <> '(none)' then 'serving'
            when p.basis = 'empty' then 'idle'
            else 'unattributed'
        end as bucket,
        p.deployment,
        p.replica,
        p.role,
        p.model_served,
        p.labels,
        p.share
    from work_cells as c
    inner join fleet.placement_intervals as p
        on
            c.gpu_uuid = p.gpu_uuid
            and c.node = p.node
            and epoch_us(p.valid_from_at) <= c.from_us
            and epoch_us(p.last_seen_at) >= c.to_us
),

units as (
    select
        hour_at,
        gpu_uuid,
        node,
        from_us,
        bucket,
        deployment,
        replica,
        max(role) as role,
        max(model_served) as model_served,
        max(labels) as labels,
        sum(share) as share
    from holders
    where bucket <> 'idle'
    group by all
),

shared as (
    select
        *,
        -- Sightings that overlap because some came late would hold more than there is: each gets its part of the whole.
        share / greatest(1.0, sum(share) over cell) as part,
        sum(share) over cell > 1.000001 as is_overlap
    from units
    window cell as (partition by hour_at, gpu_uuid, node, from_us)
),

cumulated as (
    select
        * exclude (share),
        least(1.0, sum(part) over (
            partition by hour_at, gpu_uuid, node, from_us
            order by bucket, deployment, replica
            rows between unbounded preceding and current row
        )) as part_to
    from shared
),

rest as (
    select
        c.hour_at,
        c.gpu_uuid,
        c.node,
        c.from_us,
        coalesce(max(u.part_to), 0) as part_from,
        case
            when count(u.part_to) > 0 then 'idle'
            when any_value(l.from_us) is null or any_value(l.from_us) > c.from_us or any_value(l.to_us) < c.to_us
                then 'unobserved'
            when max(e.sm_utilization_percent_max) > 0 then 'unattributed'
            else 'idle'
        end as bucket
    from work_cells as c
    left join cumulated as u
        on c.hour_at = u.hour_at and c.gpu_uuid = u.gpu_uuid and c.node = u.node and c.from_us = u.from_us
    left join looked as l on c.gpu_uuid = l.gpu_uuid and c.node = l.node
    left join work_cell_energy as e
        on c.hour_at = e.hour_at and c.gpu_uuid = e.gpu_uuid and c.node = e.node and c.from_us = e.from_us
    group by c.hour_at, c.gpu_uuid, c.node, c.from_us, c.to_us
)

select
    hour_at,
    gpu_uuid,
    node,
    from_us,
    bucket,
    deployment,
    replica,
    role,
    model_served,
    labels,
    is_overlap,
    coalesce(lag(part_to) over (
        partition by hour_at, gpu_uuid, node, from_us order by bucket, deployment, replica
    ), 0) as part_from,
    part_to
from cumulated
union all by name
select
    hour_at,
    gpu_uuid,
    node,
    from_us,
    bucket,
    '(none)' as deployment,
    '(none)' as replica,
    '(none)' as role,
    '(none)' as model_served,
    '{}' as labels,
    false as is_overlap,
    part_from,
    1.0 as part_to
from rest
where part_from < 0.999999
