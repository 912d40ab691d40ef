-- One row per hour, unit, role and vantage: what it counted, whole, and in the slots in which its time is known.
with judged as (
    select
        s.*,
        coalesce(u.is_token_known and u.is_scope_complete, false) as is_cost_matched,
        coalesce(u.is_token_known and u.is_scope_complete and u.is_energy_known, false) as is_energy_matched,
        u.gpu_count
    from work_server_slots as s
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
        role in ('aggregated', 'prefill') and vantage = 'engine' as counts_input,
        role in ('aggregated', 'decode') and vantage = 'engine' as counts_output,
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
    from work_unit_slots
    group by all
)

select
    s.* exclude (
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
        || [
            case when s.simulated then 'simulated' end,
            case when s.role = 'unknown' then 'role_unknown' end,
            case when s.vantage <> 'engine' then 'other_vantage' end,
            case when s.placed_gpu_count = 0 then 'no_gpu_placed' end,
            case when s.input_tokens is null or s.output_tokens is null then 'series_absent' end,
            case
                when s.expected_gpu_count is null then 'expected_gpu_count_unknown'
                when s.placed_gpu_count not in (0, s.expected_gpu_count)
                    then format('replica_gpus_incomplete ({} of {})', s.placed_gpu_count, s.expected_gpu_count)
            end
        ]
    ) as reasons
from summed as s
left join known as k using (hour_at, cluster, deployment, replica)
