-- One row per hour and deployment that its front end counts: a row of the fact without GPUs, beside those of its units.
with deployments as (
    select
        hour_at,
        cluster,
        deployment,
        max_by({provider: provider, account: account, model: model, engine: engine, precision: precision, speculative: speculative, labels: labels, gpu_generation: gpu_generation}, (gpu_time_us, provider, account, model, engine, precision, speculative, labels)) as most,
        -- What one figure divides must stand in one row of the marts.
        count(distinct model) = 1 and count(distinct gpu_generation) = 1 as is_one,
        bool_and(is_unit_cost_known) as is_unit_cost_known,
        bool_and(is_node_known) as is_node_known,
        bool_and(is_facility_known) as is_facility_known,
        bool_and(is_provisioned_known) as is_provisioned_known
    from work_price_groups
    where bucket = 'serving'
    group by all
)

select
    t.hour_at,
    'serving' as bucket,
    d.most.provider as provider,
    d.most.account as account,
    t.cluster,
    t.deployment,
    t.replica,
    t.role,
    d.most.model as model,
    d.most.engine as engine,
    d.most.precision as precision,
    d.most.speculative as speculative,
    d.most.labels as labels,
    d.most.gpu_generation as gpu_generation,
    '(deployment)' as gpu_sku,
    t.input_tokens,
    t.cached_input_tokens,
    t.output_tokens,
    t.input_tokens + t.output_tokens as total_tokens,
    t.requests,
    t.draft_tokens,
    t.accepted_tokens,
    t.cost_matched_input_tokens as matched_input_tokens,
    t.cost_matched_cached_input_tokens as matched_cached_input_tokens,
    t.cost_matched_output_tokens as matched_output_tokens,
    t.cost_matched_input_tokens + t.cost_matched_output_tokens as matched_tokens,
    t.energy_matched_input_tokens,
    t.energy_matched_output_tokens,
    t.energy_matched_input_tokens + t.energy_matched_output_tokens as energy_matched_tokens,
    t.ttft_seconds_sum,
    t.ttft_count,
    t.inter_token_seconds_sum,
    t.inter_token_count,
    d.is_unit_cost_known,
    d.is_node_known,
    d.is_facility_known,
    d.is_provisioned_known,
    d.is_one and t.cost_matched_input_tokens + t.cost_matched_output_tokens is not null as is_matched,
    d.is_one and t.energy_matched_input_tokens + t.energy_matched_output_tokens is not null as is_energy_matched,
    t.simulated,
    t.reasons
from hourly.unit_tokens as t
semi join work_hours as h on t.hour_at = h.hour_at
inner join deployments as d on t.hour_at = d.hour_at and t.cluster = d.cluster and t.deployment = d.deployment
where t.vantage = 'frontend' and t.counted_vantage = 'frontend'
