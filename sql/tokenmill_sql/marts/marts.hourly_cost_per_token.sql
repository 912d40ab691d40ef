-- view: One row per hour, GPU generation and model: what its tokens cost, with the sums that the ratios divide.
select
    hour_at,
    gpu_generation,
    model,
    currency,
    gpu_skus,
    effective_cost,
    all_in_cost,
    energy_cost,
    input_tokens,
    cached_input_tokens,
    output_tokens,
    total_tokens,
    gpu_hours(gpu_seconds_paid) as gpu_hours_paid,
    gpu_hours(gpu_seconds_allocated) as gpu_hours_allocated,
    gpu_hours(gpu_seconds_serving) as gpu_hours_serving,
    matched_effective_cost,
    matched_all_in_cost,
    cost_matched_tokens,
    per_million(matched_effective_cost, cost_matched_tokens) as cost_per_million_tokens,
    per_million(matched_all_in_cost, cost_matched_tokens) as all_in_cost_per_million_tokens,
    per_million(matched_effective_cost, cost_matched_output_tokens) as cost_per_million_output_tokens,
    per_million(matched_effective_cost, cost_matched_computed_tokens) as cost_per_million_computed_tokens,
    per_million(matched_prefill_cost, cost_matched_input_tokens) as input_cost_per_million_tokens,
    per_million(matched_decode_cost, cost_matched_output_tokens) as output_cost_per_million_tokens,
    case when matched_prefill_cost is null or matched_decode_cost is null then 'no_phase_basis' else 'role' end
        as split_basis,
    ratio(fully_known_cost, gpu_hours(gpu_seconds_cost_known)) as cost_per_gpu_hour,
    ratio(token_matched_tokens, gpu_seconds_token_matched) as tokens_per_second_per_gpu,
    cost_status,
    ratio(estimated_cost, effective_cost) as estimated_cost_share,
    ratio(gpu_seconds_token_known, gpu_seconds_allocated) as token_coverage,
    ratio(gpu_seconds_cost_known, gpu_seconds_paid) as cost_coverage,
    reasons_of(
        list_filter(reasons, lambda reason: not is_energy_reason(reason))
        || cost_reasons
        || [
            case
                when gpu_seconds_allocated = 0 and total_tokens is null then null
                when total_tokens = 0 then 'zero_tokens'
                when cost_matched_tokens is null and effective_cost is not null then 'tokens_not_matched'
                when cost_matched_tokens = 0 then 'zero_matched_tokens'
                when cost_matched_computed_tokens is null and cost_matched_tokens is not null
                    then 'cached_tokens_unknown'
            end
        ]
    ) as reasons,
    hour_state,
    revision,
    recorded_at
from marts.hourly_economics
