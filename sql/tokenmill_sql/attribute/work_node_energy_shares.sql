-- One row per slot, node, GPU product, bucket and unit: its GPUs' energy and, by GPU time, its part of the rest.
with holders as (
    select
        hour_at,
        slot,
        node,
        cluster,
        gpu_sku,
        bucket,
        deployment,
        replica,
        sum(gpu_time_us)::bigint as gpu_time_us,
        coalesce(sum(gpu_energy_millijoules), 0)::bigint as gpu_energy_millijoules
    from work_use
    group by all
),

placed as (
    select
        h.*,
        n.node_energy_millijoules - n.gpu_energy_millijoules as overhead_millijoules,
        n.node_energy_method,
        n.reasons,
        g.is_gpu_known,
        g.present_us,
        g.gpu_time_us as node_time_us,
        sum(h.gpu_time_us) over (
            partition by h.hour_at, h.slot, h.node
            order by h.gpu_sku, h.bucket, h.deployment, h.replica
            rows unbounded preceding
        )::bigint as time_until_us
    from holders as h
    left join work_node_energy_gpus as g on h.hour_at = g.hour_at and h.slot = g.slot and h.node = g.node
    left join measured.node_energy as n on h.hour_at = n.hour_at and h.slot = n.slot and h.node = n.node
)

select
    * exclude (overhead_millijoules, node_time_us, time_until_us),
    (
        gpu_energy_millijoules + share_of(overhead_millijoules, gpu_time_us, time_until_us, node_time_us)
    )::bigint as node_energy_millijoules
from placed
