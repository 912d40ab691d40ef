-- One row per span of a node's presence with one identity; a short silence between two descriptions belongs to the first.
with spans as (
    select
        *,
        epoch_us(first_seen_at) as from_us,
        case
            when lead(first_seen_at) over node - last_seen_at <= interval 24 hours
                then epoch_us(lead(first_seen_at) over node)
            else epoch_us(last_seen_at)
        end as to_us
    from fleet.node_intervals
    window node as (partition by node order by first_seen_at)
)

select
    node,
    from_us,
    to_us,
    provider,
    account,
    region,
    cluster,
    instance_type,
    gpu_count,
    simulated
from spans
where
    from_us < getvariable('hours_to_us')
    and to_us > getvariable('hours_from_us')
    and (is_confirmed or not getvariable('require_confirmation'))
