-- One row per row of the fact that tokens belong to: what its servers counted.
-- Tokens of a unit that holds no GPU stand alone, under the generation '(unknown)'. Those of a front end have rows of their own.
with counted as (
    select
        *,
        row_number() over (
            partition by hour_at order by cluster, deployment, replica, role, vantage
        ) as token_row,
        total_tokens(role, input_tokens, output_tokens) as total_tokens,
        total_tokens(role, cost_matched_input_tokens, cost_matched_output_tokens) as matched_tokens,
        total_tokens(role, energy_matched_input_tokens, energy_matched_output_tokens) as energy_matched_tokens
    from hourly.unit_tokens
    semi join work_hours using (hour_at)
    where vantage = 'engine' and counted_vantage is distinct from 'frontend'
),

-- A unit is one row of the fact, unless it changed hands within the hour: then the row that fits best has its tokens.
candidates as (
    select
        c.hour_at,
        c.token_row,
        g.provider,
        g.account,
        g.role,
        g.model,
        g.engine,
        g.precision,
        g.speculative,
        g.labels,
        row_number() over (
            partition by c.hour_at, c.token_row
            order by
                g.role = c.role desc,
                g.engine = c.engine desc,
                g.model = m.model desc,
                g.provider = c.provider desc,
                g.gpu_time_us desc,
                g.account, g.role, g.model, g.engine, g.precision, g.speculative, g.labels
        ) as place
    from counted as c
    inner join work_price_groups as g
        on
            g.bucket = 'serving'
            and c.hour_at = g.hour_at
            and c.cluster = g.cluster
            and c.deployment = g.deployment
            and c.replica = g.replica
    left join work_price_models as m
        on
            c.hour_at = m.hour_at
            and c.cluster = m.cluster
            and c.deployment = m.deployment
            and c.model_served = m.model_served
),

placed as (
    select
        c.hour_at,
        coalesce(g.provider, c.provider) as provider,
        coalesce(g.account, a.billed_account) as account,
        c.cluster,
        c.deployment,
        c.replica,
        coalesce(g.role, c.role) as role,
        coalesce(g.model, m.model) as model,
        coalesce(g.engine, c.engine) as engine,
        coalesce(g.precision, c.precision) as precision,
        coalesce(g.speculative, c.speculative) as speculative,
        coalesce(g.labels, c.labels) as labels,
        g.provider is not null as is_placed,
        c.* exclude (
            hour_at, provider, account, cluster, deployment, replica, role, engine, precision, speculative, labels,
            reasons
        ),
        case
            when g.provider is null then reasons_of(list_append(coalesce(c.reasons, []), 'no_gpu_placed'))
            else coalesce(c.reasons, [])
        end as reasons
    from counted as c
    left join candidates as g on c.hour_at = g.hour_at and c.token_row = g.token_row and g.place = 1
    left join work_price_models as m
        on
            c.hour_at = m.hour_at
            and c.cluster = m.cluster
            and c.deployment = m.deployment
            and c.model_served = m.model_served
    left join work_price_accounts as a
        on c.hour_at = a.hour_at and c.provider = a.provider and c.account = a.account
)

select
    hour_at,
    'serving' as bucket,
    provider,
    account,
    cluster,
    deployment,
    replica,
    role,
    model,
    engine,
    precision,
    speculative,
    labels,
    is_placed,
    sum(input_tokens)::bigint as input_tokens,
    sum(cached_input_tokens)::bigint as cached_input_tokens,
    sum(output_tokens)::bigint as output_tokens,
    sum(total_tokens)::bigint as total_tokens,
    sum(requests)::bigint as requests,
    sum(draft_tokens)::bigint as draft_tokens,
    sum(accepted_tokens)::bigint as accepted_tokens,
    sum(cost_matched_input_tokens)::bigint as matched_input_tokens,
    sum(cost_matched_cached_input_tokens)::bigint as matched_cached_input_tokens,
    sum(cost_matched_output_tokens)::bigint as matched_output_tokens,
    sum(matched_tokens)::bigint as matched_tokens,
    sum(energy_matched_input_tokens)::bigint as energy_matched_input_tokens,
    sum(energy_matched_output_tokens)::bigint as energy_matched_output_tokens,
    sum(energy_matched_tokens)::bigint as energy_matched_tokens,
    round(sum(ttft_seconds_sum), 6) as ttft_seconds_sum,
    sum(ttft_count)::bigint as ttft_count,
    round(sum(inter_token_seconds_sum), 6) as inter_token_seconds_sum,
    sum(inter_token_count)::bigint as inter_token_count,
    bool_or(simulated) as simulated,
    reasons_of(flatten(list(reasons))) as reasons
from placed
group by all
