-- One row per hour, unit, role and vantage: what it counted, whole, and in the slots in which its time is known.
-- Front ends and routers speak for their whole deployment; of all vantages one is counted.
with deployments as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        bool_and(is_token_known) as is_token_known,
        bool_and(is_scope_complete) as is_scope_complete,
        bool_and(is_energy_known) as is_energy_known,
        bool_or(scope = '(deployment)' and is_any_gpu_silent) as is_gpu_silent,
        sum(gpu_count)::bigint as gpu_count,
        min(token_known_us) as token_known_us
    from work_unit_slots
    group by all
),

unit_slots as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        replica,
        is_token_known,
        is_scope_complete,
        is_energy_known,
        scope = '(deployment)' and is_any_gpu_silent as is_gpu_silent,
        gpu_count,
        token_known_us
    from work_unit_slots
    union all by name
    select
        *,
        '(deployment)' as replica
    from deployments
),

sizes as (
    select
        hour_at,
        cluster,
        deployment,
        case when bool_and(expected_gpu_count is not null) then sum(expected_gpu_count)::integer end as expected_gpu_count
    from work_units
    group by all
),

servers as (
    select
        * replace (
            case when vantage = 'engine' then replica else '(deployment)' end as replica,
            case when vantage = 'engine' then role else '(deployment)' end as role,
            case when vantage = 'engine' then s.expected_gpu_count else z.expected_gpu_count end as expected_gpu_count
        )
    from work_server_slots as s
    left join sizes as z using (hour_at, cluster, deployment)
),

judged as (
    select
        s.*,
        v.vantage as counted_vantage,
        v.engine_tokens,
        v.frontend_tokens,
        v.difference_share,
        v.reasons as vantage_reasons,
        coalesce(u.is_gpu_silent, false) as is_gpu_silent,
        coalesce(u.is_token_known and u.is_scope_complete, false) as is_cost_matched,
        coalesce(u.is_token_known and u.is_scope_complete and u.is_energy_known, false) as is_energy_matched,
        u.gpu_count
    from servers as s
    left join unit_slots as u
        on
            s.hour_at = u.hour_at
            and s.slot = u.slot
            and s.cluster = u.cluster
            and s.deployment = u.deployment
            and s.replica = u.replica
    left join work_vantages as v
        on s.hour_at = v.hour_at and s.cluster = v.cluster and s.deployment = v.deployment
),

summed as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        role,
        vantage,
        arg_max(provider, slot) as provider,
        arg_max(account, slot) as account,
        arg_max(model_served, slot) as model_served,
        arg_max(engine, slot) as engine,
        arg_max(engine_version, slot) as engine_version,
        arg_max(precision, slot) as precision,
        arg_max(speculative, slot) as speculative,
        arg_max(labels, slot) as labels,
        max(expected_gpu_count) as expected_gpu_count,
        coalesce(max(gpu_count), 0)::integer as placed_gpu_count,
        any_value(counted_vantage) as counted_vantage,
        any_value(engine_tokens) as engine_vantage_tokens,
        any_value(frontend_tokens) as frontend_vantage_tokens,
        any_value(difference_share) as vantage_difference_share,
        any_value(vantage_reasons) as vantage_reasons,
        bool_or(is_gpu_silent) as is_gpu_silent,
        coalesce(vantage = any_value(counted_vantage), false) and role in ('aggregated', 'prefill', '(deployment)')
            as counts_input,
        coalesce(vantage = any_value(counted_vantage), false) and role in ('aggregated', 'decode', '(deployment)')
            as counts_output,
        sum(input_tokens) as input_tokens,
        sum(cached_input_tokens) as cached_input_tokens,
        sum(output_tokens) as output_tokens,
        sum(requests) as requests,
        sum(draft_tokens) as draft_tokens,
        sum(accepted_tokens) as accepted_tokens,
        sum(input_tokens) filter (is_cost_matched) as cost_matched_input_tokens,
        sum(cached_input_tokens) filter (is_cost_matched) as cost_matched_cached_input_tokens,
        sum(output_tokens) filter (is_cost_matched) as cost_matched_output_tokens,
        sum(input_tokens) filter (is_energy_matched) as energy_matched_input_tokens,
        sum(cached_input_tokens) filter (is_energy_matched) as energy_matched_cached_input_tokens,
        sum(output_tokens) filter (is_energy_matched) as energy_matched_output_tokens,
        sum(ttft_seconds_sum) as ttft_seconds_sum,
        sum(ttft_count) as ttft_count,
        sum(inter_token_seconds_sum) as inter_token_seconds_sum,
        sum(inter_token_count) as inter_token_count,
        sum(prefill_busy_seconds) as prefill_busy_seconds,
        sum(decode_busy_seconds) as decode_busy_seconds,
        sum(set_aside_tokens) as set_aside_tokens,
        bool_or(simulated) as simulated,
        reasons_of(flatten(list(reasons))) as reasons
    from judged
    group by hour_at, cluster, deployment, replica, role, vantage
),

known as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        sum(token_known_us) as known_us
    from unit_slots
    group by all
),

silent as (
    select distinct
        hour_at,
        cluster,
        deployment,
        case when vantage = 'engine' then replica else '(deployment)' end as replica,
        vantage
    from work_silent_servers
)

select
    s.* exclude (
        vantage_reasons, is_gpu_silent,
        counts_input, counts_output, input_tokens, cached_input_tokens, output_tokens, cost_matched_input_tokens,
        cost_matched_cached_input_tokens, cost_matched_output_tokens, energy_matched_input_tokens,
        energy_matched_cached_input_tokens, energy_matched_output_tokens, reasons
    ),
    coalesce(s.placed_gpu_count = s.expected_gpu_count, false) as is_complete,
    case when s.counts_input then s.input_tokens end as input_tokens,
    case when s.counts_input then s.cached_input_tokens end as cached_input_tokens,
    case when s.counts_output then s.output_tokens end as output_tokens,
    case when s.counts_input then s.cost_matched_input_tokens end as cost_matched_input_tokens,
    case when s.counts_input then s.cost_matched_cached_input_tokens end as cost_matched_cached_input_tokens,
    case when s.counts_output then s.cost_matched_output_tokens end as cost_matched_output_tokens,
    case when s.counts_input then s.energy_matched_input_tokens end as energy_matched_input_tokens,
    case when s.counts_input then s.energy_matched_cached_input_tokens end as energy_matched_cached_input_tokens,
    case when s.counts_output then s.energy_matched_output_tokens end as energy_matched_output_tokens,
    coalesce(k.known_us, 0) as known_us,
    reasons_of(
        s.reasons
        || coalesce(s.vantage_reasons, [])
        || [
            case when s.simulated then 'simulated' end,
            case when s.is_gpu_silent then 'gpu_fell_silent' end,
            case when q.hour_at is not null then 'server_fell_silent' end,
            case when s.role = 'unknown' then 'role_unknown' end,
            case when s.vantage <> s.counted_vantage then 'other_vantage' end,
            case when s.placed_gpu_count = 0 then 'no_gpu_placed' end,
            case when s.input_tokens is null or s.output_tokens is null then 'series_absent' end,
            case
                when s.expected_gpu_count is null then 'expected_gpu_count_unknown'
                when s.replica = '(deployment)' and s.placed_gpu_count not in (0, s.expected_gpu_count)
                    then format('deployment_gpus_incomplete ({} of {})', s.placed_gpu_count, s.expected_gpu_count)
                when s.placed_gpu_count not in (0, s.expected_gpu_count)
                    then format('replica_gpus_incomplete ({} of {})', s.placed_gpu_count, s.expected_gpu_count)
            end
        ]
    ) as reasons
from summed as s
left join known as k using (hour_at, cluster, deployment, replica)
left join silent as q using (hour_at, cluster, deployment, replica, vantage)
