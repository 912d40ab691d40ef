-- One row per node and hour: how long it was there, and the identity that it had for most of that time.
with spans as (
    select
        h.hour_at,
        s.*,
        overlap_us(s.from_us, s.to_us, epoch_us(h.hour_at), epoch_us(h.hour_at) + hour_us()) as overlap
    from work_node_spans as s
    inner join work_hours as h
        on s.from_us < epoch_us(h.hour_at) + hour_us() and s.to_us > epoch_us(h.hour_at)
)

select
    hour_at,
    node,
    arg_max(provider, overlap) as provider,
    arg_max(account, overlap) as account,
    arg_max(region, overlap) as region,
    arg_max(cluster, overlap) as cluster,
    arg_max(instance_type, overlap) as instance_type,
    arg_max(gpu_count, overlap) as gpu_count,
    bool_or(simulated) as simulated,
    min(greatest(from_us, epoch_us(hour_at))) as from_us,
    max(least(to_us, epoch_us(hour_at) + hour_us())) as to_us,
    sum(overlap)::bigint as presence_us
from spans
group by hour_at, node
