-- One row per stretch of a series' time with one known count: inside a piece, between two, and from the start of a process
-- that began while its node was watched to the first look at it.
with lives as (
    select
        server_id,
        node,
        epoch_us(max(process_started_at)) as started_us
    from fleet.server_intervals
    group by all
),

watched as (
    select
        node,
        epoch_us(min(first_seen_at)) as from_us
    from fleet.node_intervals
    group by node
),

pieces as (
    select
        p.*,
        v.started_us,
        w.from_us as watched_from_us,
        counter_steps(p.first_counters, p.prior) as gap_steps,
        l.tokens_per_second_max,
        l.is_start_known
    from work_token_pieces_near as p
    inner join work_token_limits as l on p.series_key = l.series_key
    left join lives as v on p.server_id = v.server_id and p.node = v.node
    left join watched as w on p.node = w.node
),

judged as (
    select
        *,
        step_fault(gap_steps, gap_monotonic_us, tokens_per_second_max, is_start_known) as fault
    from pieces
),

segments as (
    select
        series_key,
        first_at_us as from_us,
        greatest(first_at_us, last_at_us) as to_us,
        -- A counter that appeared counts from its value of earlier hours, or from 0.
        {
            input: case when coalesce(increases.input, appeared.input) is not null then coalesce(increases.input, 0) + case when appeared.input >= prior.input then appeared.input - prior.input else coalesce(appeared.input, 0) end when last_counters.input is not null then 0 end,
            cached: case when coalesce(increases.cached, appeared.cached) is not null then coalesce(increases.cached, 0) + case when appeared.cached >= prior.cached then appeared.cached - prior.cached else coalesce(appeared.cached, 0) end when last_counters.cached is not null then 0 end,
            output: case when coalesce(increases.output, appeared.output) is not null then coalesce(increases.output, 0) + case when appeared.output >= prior.output then appeared.output - prior.output else coalesce(appeared.output, 0) end when last_counters.output is not null then 0 end,
            requests: case when coalesce(increases.requests, appeared.requests) is not null then coalesce(increases.requests, 0) + case when appeared.requests >= prior.requests then appeared.requests - prior.requests else coalesce(appeared.requests, 0) end when last_counters.requests is not null then 0 end,
            draft: case when coalesce(increases.draft, appeared.draft) is not null then coalesce(increases.draft, 0) + case when appeared.draft >= prior.draft then appeared.draft - prior.draft else coalesce(appeared.draft, 0) end when last_counters.draft is not null then 0 end,
            accepted: case when coalesce(increases.accepted, appeared.accepted) is not null then coalesce(increases.accepted, 0) + case when appeared.accepted >= prior.accepted then appeared.accepted - prior.accepted else coalesce(appeared.accepted, 0) end when last_counters.accepted is not null then 0 end,
            ttft_count: case when coalesce(increases.ttft_count, appeared.ttft_count) is not null then coalesce(increases.ttft_count, 0) + case when appeared.ttft_count >= prior.ttft_count then appeared.ttft_count - prior.ttft_count else coalesce(appeared.ttft_count, 0) end when last_counters.ttft_count is not null then 0 end,
            inter_token_count: case when coalesce(increases.inter_token_count, appeared.inter_token_count) is not null then coalesce(increases.inter_token_count, 0) + case when appeared.inter_token_count >= prior.inter_token_count then appeared.inter_token_count - prior.inter_token_count else coalesce(appeared.inter_token_count, 0) end when last_counters.inter_token_count is not null then 0 end,
            ttft: case when coalesce(increases.ttft, appeared.ttft) is not null then coalesce(increases.ttft, 0) + case when appeared.ttft >= prior.ttft then appeared.ttft - prior.ttft else coalesce(appeared.ttft, 0) end when last_counters.ttft is not null then 0 end,
            inter_token: case when coalesce(increases.inter_token, appeared.inter_token) is not null then coalesce(increases.inter_token, 0) + case when appeared.inter_token >= prior.inter_token then appeared.inter_token - prior.inter_token else coalesce(appeared.inter_token, 0) end when last_counters.inter_token is not null then 0 end,
            prefill: case when coalesce(increases.prefill, appeared.prefill) is not null then coalesce(increases.prefill, 0) + case when appeared.prefill >= prior.prefill then appeared.prefill - prior.prefill else coalesce(appeared.prefill, 0) end when last_counters.prefill is not null then 0 end,
            decode: case when coalesce(increases.decode, appeared.decode) is not null then coalesce(increases.decode, 0) + case when appeared.decode >= prior.decode then appeared.decode - prior.decode else coalesce(appeared.decode, 0) end when last_counters.decode is not null then 0 end
        } as counts,
        known_us,
        set_aside_tokens,
        reasons
    from judged
    union all by name
    select
        series_key,
        previous_at_us as from_us,
        greatest(first_at_us, previous_at_us) as to_us,
        case when fault is null then {
            input: case when gap_steps.input >= 0 then gap_steps.input end,
            cached: case when gap_steps.cached >= 0 then gap_steps.cached end,
            output: case when gap_steps.output >= 0 then gap_steps.output end,
            requests: case when gap_steps.requests >= 0 then gap_steps.requests end,
            draft: case when gap_steps.draft >= 0 then gap_steps.draft end,
            accepted: case when gap_steps.accepted >= 0 then gap_steps.accepted end,
            ttft_count: case when gap_steps.ttft_count >= 0 then gap_steps.ttft_count end,
            inter_token_count: case when gap_steps.inter_token_count >= 0 then gap_steps.inter_token_count end,
            ttft: case when gap_steps.ttft >= 0 then gap_steps.ttft end,
            inter_token: case when gap_steps.inter_token >= 0 then gap_steps.inter_token end,
            prefill: case when gap_steps.prefill >= 0 then gap_steps.prefill end,
            decode: case when gap_steps.decode >= 0 then gap_steps.decode end
        } end as counts,
        case when fault is null then greatest(first_at_us - previous_at_us, 0) else 0 end as known_us,
        case when fault is null then 0 else set_aside(gap_steps) end as set_aside_tokens,
        case when fault is null then [] else [fault] end as reasons
    from judged
    where not is_first
    union all by name
    select
        series_key,
        least(started_us, first_at_us) as from_us,
        first_at_us as to_us,
        first_counters as counts,
        greatest(first_at_us - started_us, 0) as known_us,
        0 as set_aside_tokens,
        [] as reasons
    from judged
    where is_first and started_us >= watched_from_us
    union all by name
    select
        series_key,
        first_at_us as from_us,
        first_at_us as to_us,
        null as counts,
        0 as known_us,
        0 as set_aside_tokens,
        ['first_value_is_baseline'] as reasons
    from judged
    where is_first and not coalesce(started_us >= watched_from_us, false)
)

select *
from segments
where from_us < getvariable('hours_to_us') and to_us >= getvariable('hours_from_us')
