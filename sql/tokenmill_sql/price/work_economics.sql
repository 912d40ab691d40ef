-- One row per row of hourly.unit_economics of the batch, without its revision.
with joined as (
    select
        g.*,
        t.* exclude (
            hour_at, bucket, provider, account, cluster, deployment, replica, role, model, engine, precision,
            speculative, labels, is_placed, simulated, reasons
        ),
        g.simulated or coalesce(t.simulated, false) as is_simulated,
        reasons_of(
            g.reasons
            || coalesce(t.reasons, [])
            || coalesce(v.reasons, [])
            || [
                case
                    when g.bucket = 'serving' and not bool_or(t.hour_at is not null or coalesce(v.is_frontend_counted, false)) over unit
                        then 'no_token_counter'
                end,
                case when g.simulated or t.simulated then 'simulated' end
            ]
        ) as all_reasons,
        -- A side of a ratio is kept only where the other is known too.
        bool_or(t.matched_tokens is not null or coalesce(v.is_frontend_matched, false)) over unit and g.token_matched_gpu_time_us > 0 as is_matched,
        bool_or(t.energy_matched_tokens is not null or coalesce(v.is_frontend_energy_matched, false)) over unit
        and g.matched_gpu_energy_millijoules is not null
            as is_energy_matched
    from work_price_groups as g
    left join work_price_tokens as t
        on
            t.is_placed
            and g.hour_at = t.hour_at
            and g.bucket = t.bucket
            and g.provider = t.provider
            and g.account = t.account
            and g.cluster = t.cluster
            and g.deployment = t.deployment
            and g.replica = t.replica
            and g.role = t.role
            and g.model = t.model
            and g.engine = t.engine
            and g.precision = t.precision
            and g.speculative = t.speculative
            and g.labels = t.labels
    left join work_price_vantages as v
        on g.hour_at = v.hour_at and g.bucket = v.bucket and g.cluster = v.cluster and g.deployment = v.deployment
    window unit as (partition by g.hour_at, g.bucket, g.cluster, g.deployment, g.replica)
    union all by name
    select
        * exclude (is_placed, simulated, reasons),
        '(unknown)' as gpu_generation,
        '(unknown)' as gpu_sku,
        0 as gpu_time_us,
        0 as serving_gpu_time_us,
        0 as cost_known_gpu_time_us,
        0 as token_known_gpu_time_us,
        0 as token_matched_gpu_time_us,
        0 as cost_matched_gpu_time_us,
        0 as energy_known_gpu_time_us,
        0 as energy_matched_gpu_time_us,
        '(none)' as energy_method,
        '(none)' as node_energy_method,
        '(none)' as pue_source,
        '(none)' as provisioned_source,
        simulated as is_simulated,
        case when simulated then reasons_of(list_append(reasons, 'simulated')) else reasons end as all_reasons,
        ['no_gpu_placed']::varchar[] as cost_reasons,
        ['no_gpu_placed']::varchar[] as energy_reasons,
        false as is_matched,
        false as is_energy_matched
    from work_price_tokens
    where not is_placed
    union all by name
    select
        * exclude (simulated, reasons),
        0 as gpu_time_us,
        0 as serving_gpu_time_us,
        0 as cost_known_gpu_time_us,
        0 as token_known_gpu_time_us,
        0 as token_matched_gpu_time_us,
        0 as cost_matched_gpu_time_us,
        0 as energy_known_gpu_time_us,
        0 as energy_matched_gpu_time_us,
        '(none)' as energy_method,
        '(none)' as node_energy_method,
        '(none)' as pue_source,
        '(none)' as provisioned_source,
        simulated as is_simulated,
        reasons as all_reasons,
        []::varchar[] as cost_reasons,
        []::varchar[] as energy_reasons
    from work_price_frontends
)

select
    hour_at,
    ---------- whose
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
    ---------- money
    getvariable('reporting_currency') as currency,
    money_of(effective) as effective_cost,
    money_of(all_in) as all_in_cost,
    -- The price of a cloud's machine contains its electricity.
    null::double as energy_cost,
    money_of(estimated) as estimated_cost,
    money_of(provisional) as provisional_cost,
    money_of(invoiced) as invoiced_cost,
    money_of(fully_known) as fully_known_cost,
    case when is_matched then money_of(matched_effective) end as matched_effective_cost,
    case when is_matched then money_of(matched_all_in) end as matched_all_in_cost,
    case rung
        when 1 then 'estimated_rate_card'
        when 2 then 'provisional_bill'
        when 3 then 'invoiced'
        else '(unknown)'
    end as cost_status,
    ---------- GPU time
    gpu_seconds(gpu_time_us) as gpu_seconds_paid,
    case when bucket = 'serving' then gpu_seconds(gpu_time_us) else 0 end as gpu_seconds_allocated,
    gpu_seconds(serving_gpu_time_us) as gpu_seconds_serving,
    gpu_seconds(cost_known_gpu_time_us) as gpu_seconds_cost_known,
    gpu_seconds(token_known_gpu_time_us) as gpu_seconds_token_known,
    case when is_matched then gpu_seconds(token_matched_gpu_time_us) else 0 end as gpu_seconds_token_matched,
    case when is_matched then gpu_seconds(cost_matched_gpu_time_us) else 0 end as gpu_seconds_cost_matched,
    gpu_seconds(energy_known_gpu_time_us) as gpu_seconds_energy_known,
    case when is_energy_matched then gpu_seconds(energy_matched_gpu_time_us) else 0 end as gpu_seconds_energy_matched,
    ---------- tokens
    input_tokens,
    cached_input_tokens,
    output_tokens,
    total_tokens,
    requests,
    draft_tokens,
    accepted_tokens,
    case when is_matched then matched_tokens end as token_matched_tokens,
    case when is_matched and is_unit_cost_known then matched_input_tokens end as cost_matched_input_tokens,
    case when is_matched and is_unit_cost_known then matched_cached_input_tokens end as cost_matched_cached_input_tokens,
    case when is_matched and is_unit_cost_known then matched_output_tokens end as cost_matched_output_tokens,
    case when is_matched and is_unit_cost_known then matched_tokens end as cost_matched_tokens,
    case when is_energy_matched then energy_matched_input_tokens end as energy_matched_input_tokens,
    case when is_energy_matched then energy_matched_output_tokens end as energy_matched_output_tokens,
    case when is_energy_matched then energy_matched_tokens end as energy_matched_tokens,
    case when is_energy_matched and is_node_known then energy_matched_tokens end as node_matched_tokens,
    case when is_energy_matched and is_facility_known then energy_matched_tokens end as facility_matched_tokens,
    case when is_matched and is_provisioned_known then matched_tokens end as provisioned_matched_tokens,
    ttft_seconds_sum,
    ttft_count,
    inter_token_seconds_sum,
    inter_token_count,
    ---------- energy
    joules(gpu_energy_millijoules) as gpu_energy_joules,
    joules(gpu_energy_interpolated_millijoules) as gpu_energy_interpolated_joules,
    joules(node_energy_millijoules) as node_energy_joules,
    joules(facility_energy_millijoules) as facility_energy_joules,
    joules(provisioned_energy_millijoules) as provisioned_energy_joules,
    case when is_energy_matched then joules(matched_gpu_energy_millijoules) end as matched_gpu_energy_joules,
    case when is_energy_matched then joules(matched_node_energy_millijoules) end as matched_node_energy_joules,
    case when is_energy_matched then joules(matched_facility_energy_millijoules) end as matched_facility_energy_joules,
    case when is_matched then joules(matched_provisioned_energy_millijoules) end as matched_provisioned_energy_joules,
    energy_method,
    node_energy_method,
    pue_source,
    provisioned_source,
    ---------- why
    is_simulated as simulated,
    all_reasons as reasons,
    coalesce(cost_reasons, []) as cost_reasons,
    coalesce(energy_reasons, []) as energy_reasons
from joined
