-- One row per slot, deployment and vantage: what its servers counted by their roles, and for how long all of them are known.
with servers as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        vantage,
        replica,
        address,
        rank,
        sum(input_tokens) filter (vantage <> 'engine' or role in ('aggregated', 'prefill')) as input_tokens,
        sum(output_tokens) filter (vantage <> 'engine' or role in ('aggregated', 'decode')) as output_tokens,
        sum(known_us) as known_us
    from work_server_slots
    group by all
    union all by name
    select
        hour_at,
        slot,
        cluster,
        deployment,
        vantage,
        replica,
        address,
        0 as known_us
    from work_silent_servers
)

select
    hour_at,
    slot,
    cluster,
    deployment,
    vantage,
    sum(input_tokens)::bigint as input_tokens,
    sum(output_tokens)::bigint as output_tokens,
    min(known_us)::bigint as known_us
from servers
group by all
