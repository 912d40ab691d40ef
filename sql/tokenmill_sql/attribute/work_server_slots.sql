-- One row per server, rank and slot: its counts with the unit that it serves, input counted with its cached part.
with described as (
    select
        t.*,
        s.node,
        s.server_id,
        s.rank,
        hour_of(t.slot_from_us) as hour_at,
        slot_of(t.slot_from_us) as slot,
        make_timestamp(t.slot_from_us + slot_us()) as slot_ends_at
    from work_token_slots as t
    inner join measured.token_series as s on t.series_key = s.series_key
    where hour_of(t.slot_from_us) in (select hour_at from work_hours)
),

-- What a process counted before anybody saw it is described by the first sighting; a model that a busy server named later
-- is the model that it served from the start.
descriptions as (
    select
        * exclude (valid_from_at, model_served),
        case
            when model_served <> '(unknown)' then model_served
            else coalesce(max(nullif(model_served, '(unknown)')) over (partition by server_id, node), '(unknown)')
        end as model_served,
        case
            when row_number() over (partition by server_id, node order by valid_from_at) > 1 then valid_from_at
            else timestamp '1970-01-01'
        end as valid_from_at
    from fleet.server_intervals
)

select
    d.hour_at,
    d.slot,
    coalesce(n.cluster, i.cluster) as cluster,
    coalesce(n.provider, '(unknown)') as provider,
    coalesce(n.account, '(unknown)') as account,
    case when i.deployment = '(none)' then d.node || '/' || i.address else i.deployment end as deployment,
    case when i.replica = '(none)' then d.node || '/' || i.address else i.replica end as replica,
    i.role,
    i.vantage,
    i.model_served,
    i.engine,
    i.engine_version,
    i.precision,
    i.speculative,
    i.labels,
    i.expected_gpu_count,
    i.address,
    i.simulated,
    d.rank,
    case when i.input_includes_cached then d.input else d.input + coalesce(d.cached, 0) end as input_tokens,
    d.cached as cached_input_tokens,
    d.output as output_tokens,
    d.requests,
    d.draft as draft_tokens,
    d.accepted as accepted_tokens,
    d.ttft as ttft_seconds_sum,
    d.ttft_count,
    d.inter_token as inter_token_seconds_sum,
    d.inter_token_count,
    d.prefill as prefill_busy_seconds,
    d.decode as decode_busy_seconds,
    d.known_us,
    d.set_aside_tokens,
    d.reasons
from described as d
asof inner join descriptions as i
    on d.server_id = i.server_id and d.node = i.node and d.slot_ends_at >= i.valid_from_at
left join work_node_hours as n on d.node = n.node and d.hour_at = n.hour_at
