-- One row per GPU, holder and unbroken run of looks: a holder's run breaks where a look at its GPU did not find it.
with look_times as (
    select gpu_uuid, node, first_at_us as at_us from work_placement_sightings
    union
    select gpu_uuid, node, last_at_us as at_us from work_placement_sightings
),

looks as (
    select
        *,
        row_number() over gpu as look,
        lag(at_us) over gpu as previous_look_at_us
    from look_times
    window gpu as (partition by gpu_uuid, node order by at_us)
),

numbered as (
    select
        s.*,
        f.look as first_look,
        l.look as last_look,
        f.previous_look_at_us
    from work_placement_sightings as s
    inner join looks as f on s.gpu_uuid = f.gpu_uuid and s.node = f.node and s.first_at_us = f.at_us
    inner join looks as l on s.gpu_uuid = l.gpu_uuid and s.node = l.node and s.last_at_us = l.at_us
),

marked as (
    select
        *,
        coalesce(first_look > max(last_look) over (
            partition by gpu_uuid, node, mig_uuid, deployment, replica, role, model_served, labels, process_started_at, share, basis
            order by first_look, last_look
            rows between unbounded preceding and 1 preceding
        ) + 1, true) as starts_run
    from numbered
),

runs as (
    select
        *,
        sum(starts_run::integer) over (
            partition by gpu_uuid, node, mig_uuid, deployment, replica, role, model_served, labels, process_started_at, share, basis
            order by first_look, last_look
            rows between unbounded preceding and current row
        ) as run
    from marked
)

select
    gpu_uuid,
    node,
    mig_uuid,
    deployment,
    replica,
    role,
    model_served,
    labels,
    process_started_at,
    share,
    basis,
    -- A process that started after the last look at an otherwise held GPU holds it from its start: loading belongs to
    -- the model that loads.
    coalesce(
        arg_min(valid_from_at, first_at_us) filter (is_stored),
        make_timestamp(
            case
                when epoch_us(process_started_at) between arg_min(previous_look_at_us, first_at_us) and min(first_at_us)
                    then epoch_us(process_started_at)
                else min(first_at_us)
            end
        )
    ) as valid_from_at,
    make_timestamp(min(first_at_us)) as first_seen_at,
    make_timestamp(max(last_at_us)) as last_seen_at
from runs
group by gpu_uuid, node, mig_uuid, deployment, replica, role, model_served, labels, process_started_at, share, basis, run
