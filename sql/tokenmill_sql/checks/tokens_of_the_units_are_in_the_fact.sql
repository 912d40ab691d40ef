-- fail: every token that a unit counted is in the fact
with sides as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        provider,
        coalesce(input_tokens, 0) as counted_input,
        coalesce(output_tokens, 0) as counted_output,
        0 as kept_input,
        0 as kept_output
    from hourly.unit_tokens
    semi join work_hours using (hour_at)
    union all
    select
        hour_at,
        cluster,
        deployment,
        replica,
        provider,
        0 as counted_input,
        0 as counted_output,
        coalesce(input_tokens, 0) as kept_input,
        coalesce(output_tokens, 0) as kept_output
    from work_economics
    where bucket = 'serving'
)

select
    hour_at,
    min(provider) as provider,
    format(
        '{} of {}: {} input and {} output tokens were counted, the fact holds {} and {}',
        replica,
        deployment,
        sum(counted_input),
        sum(counted_output),
        sum(kept_input),
        sum(kept_output)
    ) as detail
from sides
group by hour_at, cluster, deployment, replica
having sum(counted_input) <> sum(kept_input) or sum(counted_output) <> sum(kept_output)
