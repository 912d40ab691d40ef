-- One row per row of unit_use, and per node with billed time that nobody saw: its money, energy and facts.
with cells as (
    select
        hour_at,
        provider,
        account,
        region,
        cluster,
        node,
        gpu_sku,
        bucket,
        deployment,
        replica,
        role,
        model_served,
        engine,
        precision,
        speculative,
        labels,
        gpu_time_us,
        serving_gpu_time_us,
        token_known_gpu_time_us,
        cost_matched_gpu_time_us as token_matched_gpu_time_us,
        energy_known_gpu_time_us,
        energy_matched_gpu_time_us,
        gpu_energy_millijoules,
        gpu_energy_interpolated_millijoules,
        matched_gpu_energy_millijoules,
        node_energy_millijoules,
        matched_node_energy_millijoules,
        energy_method,
        node_energy_method,
        simulated,
        reasons,
        origin
    from work_price_use
    union all by name
    select
        hour_at,
        provider,
        account,
        '(unknown)' as region,
        cluster,
        node,
        gpu_sku,
        'unobserved' as bucket,
        '(none)' as deployment,
        '(none)' as replica,
        '(none)' as role,
        '(none)' as model_served,
        '(none)' as engine,
        '(none)' as precision,
        '(none)' as speculative,
        '{}' as labels,
        gpu_time_us,
        0 as serving_gpu_time_us,
        0 as token_known_gpu_time_us,
        0 as token_matched_gpu_time_us,
        0 as energy_known_gpu_time_us,
        0 as energy_matched_gpu_time_us,
        '(none)' as energy_method,
        '(none)' as node_energy_method,
        simulated,
        ['billed_but_not_seen'] as reasons,
        'billed' as origin
    from work_price_unobserved
),

placed as (
    select
        *,
        sum(gpu_time_us) over (
            partition by hour_at, provider, node
            order by gpu_sku, bucket, cluster, deployment, replica, account, origin
            rows unbounded preceding
        ) as time_until,
        sum(gpu_time_us) over (partition by hour_at, provider, node) as time_total
    from cells
),

joined as (
    select
        p.* exclude (reasons),
        coalesce(p.reasons, []) as reasons,
        m.node is not null and p.time_total > 0 as has_money,
        case when p.time_total > 0 then m.rung end as rung,
        coalesce(m.is_known, false) and p.time_total > 0 as is_cost_known,
        m.estimated,
        m.provisional,
        m.invoiced,
        m.reasons as money_reasons,
        s.gpu_generation,
        s.generation_order,
        s.provisioned_watts,
        s.provisioned_source,
        f.price.amount as pue,
        f.price.source as pue_source
    from placed as p
    left join work_price_node_money as m
        on p.hour_at = m.hour_at and p.provider = m.provider and p.node = m.node
    left join work_price_skus as s
        on p.hour_at = s.hour_at and p.gpu_sku = s.gpu_sku
    left join work_price_pue as f
        on p.hour_at = f.hour_at and p.provider = f.provider and p.account = f.account and p.region = f.region
)

select
    * exclude (
        estimated, provisional, invoiced, money_reasons, pue, pue_source, provisioned_watts, provisioned_source,
        has_money, time_until, time_total, region
    ),
    case when rung is not null then share_of(estimated, gpu_time_us, time_until, time_total) end as estimated,
    case when rung is not null then share_of(provisional, gpu_time_us, time_until, time_total) end as provisional,
    case when rung is not null then share_of(invoiced, gpu_time_us, time_until, time_total) end as invoiced,
    case
        when has_money then money_reasons
        when account in ('(none)', '(unknown)') then ['account_unknown']
        else ['no_matching_charge']
    end as cost_reasons,
    round(node_energy_millijoules * pue)::bigint as facility_energy_millijoules,
    round(matched_node_energy_millijoules * pue)::bigint as matched_facility_energy_millijoules,
    round(gpu_time_us * provisioned_watts / 1000)::bigint as provisioned_energy_millijoules,
    round(token_matched_gpu_time_us * provisioned_watts / 1000)::bigint as matched_provisioned_energy_millijoules,
    -- A facility's energy is a model's: no meter of the site is read.
    coalesce('modelled: ' || pue_source, '(none)') as pue_source,
    case when provisioned_watts is null then '(none)' else provisioned_source end as provisioned_source,
    reasons_of([
        case when node_energy_millijoules is null then 'no_node_power' end,
        case when node_energy_millijoules is not null and pue is null then 'no_pue' end,
        case when provisioned_watts is null then 'no_provisioned_power' end
    ]) as energy_reasons
from joined
