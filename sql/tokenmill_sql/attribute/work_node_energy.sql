-- One row per hour, node, GPU product, bucket and unit: its part of the node's energy, and that of its matched slots.
-- Half of a unit's node energy would flatter it: it is matched only if known on all its nodes in all its matched slots.
with judged as (
    select
        s.*,
        coalesce(u.is_token_known and u.is_scope_complete and u.is_energy_known, false) as is_matched
    from work_node_energy_shares as s
    left join work_unit_slots as u
        on
            s.hour_at = u.hour_at
            and s.slot = u.slot
            and s.cluster = u.cluster
            and s.deployment = u.deployment
            and s.replica = u.replica
),

summed as (
    select
        hour_at,
        node,
        cluster,
        gpu_sku,
        bucket,
        deployment,
        replica,
        sum(node_energy_millijoules)::bigint as node_energy_millijoules,
        sum(node_energy_millijoules) filter (is_matched)::bigint as matched_node_energy_millijoules,
        coalesce(bool_or(is_matched), false) as has_matched,
        bool_and(node_energy_millijoules is not null and is_gpu_known)
            filter (is_matched and present_us > getvariable('slot_tolerance_us')) as is_known,
        list_sort(list(distinct node_energy_method) filter (node_energy_millijoules is not null)) as methods,
        bool_or(is_matched and node_energy_millijoules is not null and not is_gpu_known) as is_gpu_missing,
        reasons_of(flatten(list(coalesce(reasons, [])))) as reasons
    from judged
    group by all
),

units as (
    select
        *,
        bool_and(is_known) over (partition by hour_at, bucket, cluster, deployment, replica) as is_unit_known
    from summed
)

select
    hour_at,
    node,
    gpu_sku,
    bucket,
    deployment,
    replica,
    node_energy_millijoules,
    case when is_unit_known then matched_node_energy_millijoules end as matched_node_energy_millijoules,
    case coalesce(len(methods), 0)
        when 0 then '(none)'
        when 1 then methods[1]
        else 'mixed'
    end as node_energy_method,
    reasons_of(
        reasons
        || [
            case
                when node_energy_millijoules is null or (has_matched and not coalesce(is_unit_known, false))
                    then 'no_node_power'
            end,
            case when is_gpu_missing then 'node_energy_split_unknown' end
        ]
    ) as reasons
from units
