-- view: One row per hour, GPU generation and model: the tokens that its power gave, at each boundary of power.
select
    hour_at,
    gpu_generation,
    model,
    gpu_skus,
    total_tokens,
    output_tokens,
    gpu_energy_joules,
    node_energy_joules,
    facility_energy_joules,
    provisioned_energy_joules,
    matched_gpu_energy_joules,
    energy_matched_tokens,
    tokens_per_second_per_megawatt(energy_matched_tokens, matched_gpu_energy_joules)
        as tokens_per_second_per_megawatt_gpu,
    tokens_per_second_per_megawatt(node_matched_tokens, matched_node_energy_joules)
        as tokens_per_second_per_megawatt_node,
    tokens_per_second_per_megawatt(facility_matched_tokens, matched_facility_energy_joules)
        as tokens_per_second_per_megawatt_facility,
    tokens_per_second_per_megawatt(provisioned_matched_tokens, matched_provisioned_energy_joules)
        as tokens_per_second_per_megawatt_provisioned,
    3600 * tokens_per_second_per_megawatt(energy_matched_tokens, matched_gpu_energy_joules)
        as tokens_per_megawatt_hour_gpu,
    3600 * tokens_per_second_per_megawatt(facility_matched_tokens, matched_facility_energy_joules)
        as tokens_per_megawatt_hour_facility,
    ratio(matched_gpu_energy_joules, energy_matched_tokens) as joules_per_token,
    energy_method,
    node_energy_method,
    pue_source,
    provisioned_source,
    ratio(gpu_energy_interpolated_joules, gpu_energy_joules) as energy_interpolated_share,
    ratio(gpu_seconds_energy_known, gpu_seconds_paid) as energy_coverage,
    ratio(gpu_seconds_token_known, gpu_seconds_allocated) as token_coverage,
    reasons_of(
        reasons
        || energy_reasons
        || [
            case
                when gpu_seconds_allocated = 0 and total_tokens is null then null
                when total_tokens = 0 then 'zero_tokens'
                when gpu_energy_joules is null then 'energy_missing'
                when energy_matched_tokens is null then 'tokens_not_matched'
                when energy_matched_tokens = 0 then 'zero_matched_tokens'
            end
        ]
    ) as reasons,
    hour_state,
    revision,
    recorded_at
from marts.hourly_economics
where gpu_seconds_paid > 0 or total_tokens is not null
