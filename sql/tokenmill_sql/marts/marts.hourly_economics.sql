-- One row per hour, GPU generation and model of the current revision, in one currency.
with facts as (
    select
        e.*,
        case when e.bucket = 'serving' then e.model else format('({})', e.bucket) end as model_or_bucket,
        case e.cost_status
            when 'estimated_rate_card' then 1
            when 'provisional_bill' then 2
            when 'invoiced' then 3
        end as rung,
        case
            when e.role = 'prefill' then e.cost_matched_input_tokens - e.cost_matched_cached_input_tokens
            when e.role = 'decode' then e.cost_matched_output_tokens
            else
                e.cost_matched_input_tokens - e.cost_matched_cached_input_tokens + e.cost_matched_output_tokens
        end as computed_tokens,
        w.provider is not null as is_withheld,
        r.hour_state,
        r.recorded_at
    from hourly.unit_economics as e
    inner join hourly.revisions as r
        on e.hour_at = r.hour_at and e.revision = r.revision and r.superseded_at is null
    semi join work_hours as h on e.hour_at = h.hour_at
    left join (select distinct hour_at, provider from hourly.withheld where resolved_at is null) as w
        on e.hour_at = w.hour_at and e.provider = w.provider
    where e.hour_at >= getvariable('batch_from') and e.hour_at < getvariable('batch_until')
)

select
    hour_at,
    gpu_generation,
    model_or_bucket as model,
    min(currency) as currency,
    reasons_of(coalesce(flatten(list(string_split(gpu_sku, '+')) filter (gpu_sku not in ('(none)', '(deployment)'))), [])) as gpu_skus,
    ---------- money
    sum(effective_cost) as effective_cost,
    sum(all_in_cost) as all_in_cost,
    sum(energy_cost) as energy_cost,
    sum(estimated_cost) as estimated_cost,
    sum(provisional_cost) as provisional_cost,
    sum(invoiced_cost) as invoiced_cost,
    sum(fully_known_cost) as fully_known_cost,
    sum(matched_effective_cost) as matched_effective_cost,
    sum(matched_all_in_cost) as matched_all_in_cost,
    -- A split into prompt and answer needs every matched GPU to do one of the two.
    case when bool_and(role in ('prefill', 'decode')) filter (matched_effective_cost is not null)
        then sum(matched_effective_cost) filter (role = 'prefill')
    end as matched_prefill_cost,
    case when bool_and(role in ('prefill', 'decode')) filter (matched_effective_cost is not null)
        then sum(matched_effective_cost) filter (role = 'decode')
    end as matched_decode_cost,
    case min(rung)
        when 1 then 'estimated_rate_card'
        when 2 then 'provisional_bill'
        when 3 then 'invoiced'
        else '(unknown)'
    end as cost_status,
    ---------- GPU time
    sum(gpu_seconds_paid) as gpu_seconds_paid,
    sum(gpu_seconds_allocated) as gpu_seconds_allocated,
    sum(gpu_seconds_serving) as gpu_seconds_serving,
    sum(gpu_seconds_cost_known) as gpu_seconds_cost_known,
    sum(gpu_seconds_token_known) as gpu_seconds_token_known,
    sum(gpu_seconds_token_matched) as gpu_seconds_token_matched,
    sum(gpu_seconds_cost_matched) as gpu_seconds_cost_matched,
    sum(gpu_seconds_energy_known) as gpu_seconds_energy_known,
    sum(gpu_seconds_energy_matched) as gpu_seconds_energy_matched,
    ---------- tokens
    sum(input_tokens)::bigint as input_tokens,
    sum(cached_input_tokens)::bigint as cached_input_tokens,
    sum(output_tokens)::bigint as output_tokens,
    sum(total_tokens)::bigint as total_tokens,
    sum(requests)::bigint as requests,
    sum(draft_tokens)::bigint as draft_tokens,
    sum(accepted_tokens)::bigint as accepted_tokens,
    sum(token_matched_tokens)::bigint as token_matched_tokens,
    sum(cost_matched_input_tokens)::bigint as cost_matched_input_tokens,
    sum(cost_matched_cached_input_tokens)::bigint as cost_matched_cached_input_tokens,
    sum(cost_matched_output_tokens)::bigint as cost_matched_output_tokens,
    sum(cost_matched_tokens)::bigint as cost_matched_tokens,
    case when bool_and(computed_tokens is not null) filter (cost_matched_tokens is not null)
        then sum(computed_tokens) filter (cost_matched_tokens is not null)
    end::bigint as cost_matched_computed_tokens,
    sum(energy_matched_input_tokens)::bigint as energy_matched_input_tokens,
    sum(energy_matched_output_tokens)::bigint as energy_matched_output_tokens,
    sum(energy_matched_tokens)::bigint as energy_matched_tokens,
    sum(node_matched_tokens)::bigint as node_matched_tokens,
    sum(facility_matched_tokens)::bigint as facility_matched_tokens,
    sum(provisioned_matched_tokens)::bigint as provisioned_matched_tokens,
    sum(ttft_seconds_sum) as ttft_seconds_sum,
    sum(ttft_count)::bigint as ttft_count,
    sum(inter_token_seconds_sum) as inter_token_seconds_sum,
    sum(inter_token_count)::bigint as inter_token_count,
    ---------- energy
    sum(gpu_energy_joules) as gpu_energy_joules,
    sum(gpu_energy_interpolated_joules) as gpu_energy_interpolated_joules,
    sum(node_energy_joules) as node_energy_joules,
    sum(facility_energy_joules) as facility_energy_joules,
    sum(provisioned_energy_joules) as provisioned_energy_joules,
    sum(matched_gpu_energy_joules) as matched_gpu_energy_joules,
    sum(matched_node_energy_joules) as matched_node_energy_joules,
    sum(matched_facility_energy_joules) as matched_facility_energy_joules,
    sum(matched_provisioned_energy_joules) as matched_provisioned_energy_joules,
    one_name(list(energy_method)) as energy_method,
    one_name(list(node_energy_method)) as node_energy_method,
    one_name(list(pue_source)) as pue_source,
    one_name(list(provisioned_source)) as provisioned_source,
    ---------- why
    bool_or(simulated) as simulated,
    reasons_of(
        list_append(flatten(list(reasons)), case when bool_or(is_withheld) then 'revision_withheld' end)
    ) as reasons,
    reasons_of(flatten(list(cost_reasons))) as cost_reasons,
    reasons_of(flatten(list(energy_reasons))) as energy_reasons,
    min(hour_state) as hour_state,
    min(revision) as revision,
    min(recorded_at) as recorded_at
from facts
group by hour_at, gpu_generation, model_or_bucket
