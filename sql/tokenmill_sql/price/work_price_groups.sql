-- One row per row of the fact that holds GPU time or money: exact sums over its cells and lines.
with cells as (
    select
        c.hour_at,
        c.provider,
        c.account,
        c.cluster,
        c.bucket,
        c.deployment,
        c.replica,
        c.role,
        coalesce(m.model, '(none)') as model,
        c.engine,
        c.precision,
        c.speculative,
        coalesce(u.gpu_generation, c.gpu_generation) as gpu_generation,
        coalesce(u.gpu_sku, c.gpu_sku) as gpu_sku,
        c.labels,
        c.gpu_time_us,
        c.serving_gpu_time_us,
        c.token_known_gpu_time_us,
        c.token_matched_gpu_time_us,
        c.energy_known_gpu_time_us,
        c.energy_matched_gpu_time_us,
        c.is_cost_known,
        coalesce(u.is_cost_known, false) as is_unit_cost_known,
        coalesce(u.is_node_known, false) as is_node_known,
        coalesce(u.is_facility_known, false) as is_facility_known,
        coalesce(u.is_provisioned_known, false) as is_provisioned_known,
        y.estimated,
        y.provisional,
        y.invoiced,
        y.effective,
        y.all_in,
        y.rung,
        c.gpu_energy_millijoules,
        c.gpu_energy_interpolated_millijoules,
        c.node_energy_millijoules,
        c.facility_energy_millijoules,
        c.provisioned_energy_millijoules,
        c.matched_gpu_energy_millijoules,
        c.matched_node_energy_millijoules,
        c.matched_facility_energy_millijoules,
        c.matched_provisioned_energy_millijoules,
        c.energy_method,
        c.node_energy_method,
        c.pue_source,
        c.provisioned_source,
        c.simulated,
        c.reasons,
        c.cost_reasons,
        c.energy_reasons
    from work_price_cells as c
    inner join work_price_money as y
        using (hour_at, provider, account, cluster, node, gpu_sku, bucket, deployment, replica, origin)
    left join work_price_units as u
        on
            c.hour_at = u.hour_at
            and c.bucket = u.bucket
            and c.cluster = u.cluster
            and c.deployment = u.deployment
            and c.replica = u.replica
    left join work_price_models as m
        on
            c.hour_at = m.hour_at
            and c.bucket = m.bucket
            and c.cluster = m.cluster
            and c.deployment = m.deployment
            and c.model_served = m.model_served
),

-- A bill says nothing of how its machines came to be: where all nodes of an account are simulated, so is its bill.
simulated_accounts as (
    select
        hour_at,
        provider,
        account,
        bool_and(simulated) as simulated
    from work_price_nodes
    group by all
),

lines as (
    select
        y.hour_at,
        y.provider,
        y.account,
        y.cluster,
        y.bucket,
        '(none)' as deployment,
        '(none)' as replica,
        '(none)' as role,
        '(none)' as model,
        '(none)' as engine,
        '(none)' as precision,
        '(none)' as speculative,
        '(none)' as gpu_generation,
        '(none)' as gpu_sku,
        '{}' as labels,
        y.estimated,
        y.provisional,
        y.invoiced,
        y.effective,
        y.all_in,
        y.rung,
        coalesce(s.simulated, false) as simulated,
        y.cost_reasons
    from work_price_money as y
    left join simulated_accounts as s using (hour_at, provider, account)
    where y.origin = 'line'
),

parts as (
    select * from cells
    union all by name
    select * from lines
)

select
    hour_at,
    provider,
    account,
    cluster,
    bucket,
    deployment,
    replica,
    role,
    model,
    engine,
    precision,
    speculative,
    gpu_generation,
    gpu_sku,
    labels,
    sum(estimated) as estimated,
    sum(provisional) as provisional,
    sum(invoiced) as invoiced,
    sum(effective) as effective,
    sum(all_in) as all_in,
    min(rung) as rung,
    sum(effective) filter (is_cost_known) as fully_known,
    sum(spread_money_before(effective, 0, gpu_time_us, token_matched_gpu_time_us)) filter (is_unit_cost_known)
        as matched_effective,
    sum(spread_money_before(all_in, 0, gpu_time_us, token_matched_gpu_time_us)) filter (is_unit_cost_known)
        as matched_all_in,
    coalesce(sum(gpu_time_us), 0)::bigint as gpu_time_us,
    coalesce(sum(serving_gpu_time_us), 0)::bigint as serving_gpu_time_us,
    coalesce(sum(gpu_time_us) filter (is_cost_known), 0)::bigint as cost_known_gpu_time_us,
    coalesce(sum(token_known_gpu_time_us), 0)::bigint as token_known_gpu_time_us,
    coalesce(sum(token_matched_gpu_time_us), 0)::bigint as token_matched_gpu_time_us,
    coalesce(sum(token_matched_gpu_time_us) filter (is_unit_cost_known), 0)::bigint as cost_matched_gpu_time_us,
    coalesce(sum(energy_known_gpu_time_us), 0)::bigint as energy_known_gpu_time_us,
    coalesce(sum(energy_matched_gpu_time_us), 0)::bigint as energy_matched_gpu_time_us,
    coalesce(bool_and(is_unit_cost_known), false) as is_unit_cost_known,
    coalesce(bool_and(is_node_known), false) as is_node_known,
    coalesce(bool_and(is_facility_known), false) as is_facility_known,
    coalesce(bool_and(is_provisioned_known), false) as is_provisioned_known,
    sum(gpu_energy_millijoules)::bigint as gpu_energy_millijoules,
    sum(gpu_energy_interpolated_millijoules)::bigint as gpu_energy_interpolated_millijoules,
    sum(node_energy_millijoules)::bigint as node_energy_millijoules,
    sum(facility_energy_millijoules)::bigint as facility_energy_millijoules,
    sum(provisioned_energy_millijoules)::bigint as provisioned_energy_millijoules,
    sum(matched_gpu_energy_millijoules)::bigint as matched_gpu_energy_millijoules,
    sum(matched_node_energy_millijoules) filter (is_node_known)::bigint as matched_node_energy_millijoules,
    sum(matched_facility_energy_millijoules) filter (is_facility_known)::bigint as matched_facility_energy_millijoules,
    sum(matched_provisioned_energy_millijoules) filter (is_provisioned_known)::bigint
        as matched_provisioned_energy_millijoules,
    one_name(list(energy_method)) as energy_method,
    one_name(list(node_energy_method)) as node_energy_method,
    one_name(list(pue_source)) as pue_source,
    one_name(list(provisioned_source)) as provisioned_source,
    bool_or(simulated) as simulated,
    reasons_of(flatten(list(coalesce(reasons, [])))) as reasons,
    reasons_of(flatten(list(coalesce(cost_reasons, [])))) as cost_reasons,
    reasons_of(flatten(list(coalesce(energy_reasons, [])))) as energy_reasons
from parts
group by all
