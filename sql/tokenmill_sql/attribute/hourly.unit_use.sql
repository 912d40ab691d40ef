-- One row per hour, node, GPU product, bucket and unit: whose GPU time and energy it was.
with judged as (
    select
        w.*,
        u.expected_gpu_count,
        u.gpu_count as placed_gpu_count,
        coalesce(u.is_token_known, false) as is_token_known,
        coalesce(u.is_scope_complete, false) as is_complete,
        coalesce(u.is_energy_known, false) as is_energy_known,
        case when u.is_complete and u.unit_us > 0 then u.token_known_us / u.unit_us else 0 end as serving_part
    from work_use as w
    left join work_unit_slots as u
        on
            w.hour_at = u.hour_at
            and w.slot = u.slot
            and w.cluster = u.cluster
            and w.deployment = u.deployment
            and w.replica = u.replica
),

summed as (
    select
        hour_at,
        node,
        provider,
        account,
        region,
        cluster,
        instance_type,
        gpu_sku,
        bucket,
        deployment,
        replica,
        max(role) as role,
        max(model_served) as model_served,
        max(labels) as labels,
        count(distinct gpu_uuid)::integer as gpu_count,
        sum(gpu_time_us)::bigint as gpu_time_us,
        sum(floor(gpu_time_us * serving_part))::bigint as serving_gpu_time_us,
        coalesce(sum(gpu_time_us) filter (is_token_known), 0)::bigint as token_known_gpu_time_us,
        coalesce(sum(gpu_time_us) filter (is_token_known and is_complete), 0)::bigint as cost_matched_gpu_time_us,
        sum(known_us)::bigint as energy_known_gpu_time_us,
        coalesce(sum(gpu_time_us) filter (is_token_known and is_complete and is_energy_known), 0)::bigint
            as energy_matched_gpu_time_us,
        sum(gpu_energy_millijoules)::bigint as gpu_energy_millijoules,
        sum(interpolated_millijoules)::bigint as gpu_energy_interpolated_millijoules,
        sum(gpu_energy_millijoules) filter (is_token_known and is_complete and is_energy_known)::bigint
            as matched_gpu_energy_millijoules,
        sum(module_energy_millijoules)::bigint as module_energy_millijoules,
        list_sort(list_distinct(flatten(list(coalesce(energy_methods, []))))) as energy_methods,
        bool_or(simulated) as simulated,
        max(expected_gpu_count) as expected_gpu_count,
        min(placed_gpu_count) as placed_gpu_count,
        reasons_of(flatten(list(reasons))) as reasons
    from judged
    group by hour_at, node, provider, account, region, cluster, instance_type, gpu_sku, bucket, deployment, replica
),

-- GPUs that a node says it has and that nobody sees are paid like the others.
unseen as (
    select
        n.hour_at,
        n.node,
        n.provider,
        n.account,
        n.region,
        n.cluster,
        n.instance_type,
        n.simulated,
        n.gpu_count * n.presence_us - coalesce(s.gpu_time_us, 0) as gpu_time_us,
        n.gpu_count - coalesce(s.gpu_count, 0) as gpu_count
    from work_node_hours as n
    left join (
        select hour_at, node, sum(gpu_time_us) as gpu_time_us, count(distinct gpu_uuid)::integer as gpu_count
        from work_use
        group by all
    ) as s on n.hour_at = s.hour_at and n.node = s.node
)

select
    s.hour_at,
    s.node,
    s.provider,
    s.account,
    s.region,
    s.cluster,
    s.instance_type,
    s.gpu_sku,
    s.bucket,
    s.deployment,
    s.replica,
    coalesce(u.role, s.role) as role,
    case when s.bucket = 'serving' then coalesce(nullif(u.model_served, '(unknown)'), s.model_served) else '(none)' end
        as model_served,
    case when s.bucket = 'serving' then coalesce(u.engine, '(unknown)') else '(none)' end as engine,
    case when s.bucket = 'serving' then coalesce(u.precision, '(unknown)') else '(none)' end as precision,
    case when s.bucket = 'serving' then coalesce(u.speculative, '(unknown)') else '(none)' end as speculative,
    s.labels,
    s.gpu_count,
    s.gpu_time_us,
    s.serving_gpu_time_us,
    s.token_known_gpu_time_us,
    s.cost_matched_gpu_time_us,
    s.energy_known_gpu_time_us,
    s.energy_matched_gpu_time_us,
    s.gpu_energy_millijoules,
    s.gpu_energy_interpolated_millijoules,
    s.matched_gpu_energy_millijoules,
    s.module_energy_millijoules,
    e.node_energy_millijoules,
    e.matched_node_energy_millijoules,
    case len(s.energy_methods)
        when 0 then '(none)'
        when 1 then s.energy_methods[1]
        else 'mixed'
    end as energy_method,
    coalesce(e.node_energy_method, '(none)') as node_energy_method,
    s.simulated,
    reasons_of(
        s.reasons
        || coalesce(e.reasons, ['no_node_power'])
        || [
            case when s.simulated then 'simulated' end,
            case when s.gpu_energy_millijoules is null and s.module_energy_millijoules is not null then 'module_scope_only' end,
            case when s.gpu_energy_millijoules is null and s.module_energy_millijoules is null then 'no_energy_reading' end,
            case when s.bucket = 'serving' and u.hour_at is null then 'no_server_seen' end,
            case
                when s.bucket = 'serving' and u.hour_at is not null and u.expected_gpu_count is null
                    then 'expected_gpu_count_unknown'
                when s.bucket = 'serving' and s.placed_gpu_count <> u.expected_gpu_count
                    then format('replica_gpus_incomplete ({} of {})', s.placed_gpu_count, u.expected_gpu_count)
            end
        ]
    ) as reasons
from summed as s
left join work_node_energy as e
    on
        s.hour_at = e.hour_at
        and s.node = e.node
        and s.gpu_sku = e.gpu_sku
        and s.bucket = e.bucket
        and s.deployment = e.deployment
        and s.replica = e.replica
left join work_units as u
    on
        s.hour_at = u.hour_at
        and s.cluster = u.cluster
        and s.deployment = u.deployment
        and s.replica = u.replica
where s.gpu_time_us > 0 or s.gpu_energy_millijoules > 0 or s.module_energy_millijoules > 0
union all by name
select
    hour_at,
    node,
    provider,
    account,
    region,
    cluster,
    instance_type,
    '(unknown)' as gpu_sku,
    'unobserved' as bucket,
    '(none)' as deployment,
    '(none)' as replica,
    '(none)' as role,
    '(none)' as model_served,
    '(none)' as engine,
    '(none)' as precision,
    '(none)' as speculative,
    '{}' as labels,
    greatest(gpu_count, 0) as gpu_count,
    gpu_time_us::bigint as gpu_time_us,
    0 as serving_gpu_time_us,
    0 as token_known_gpu_time_us,
    0 as cost_matched_gpu_time_us,
    0 as energy_known_gpu_time_us,
    0 as energy_matched_gpu_time_us,
    '(none)' as energy_method,
    '(none)' as node_energy_method,
    simulated,
    ['gpu_not_seen', 'no_energy_reading', 'no_node_power'] as reasons
from unseen
where gpu_time_us > 1000000
