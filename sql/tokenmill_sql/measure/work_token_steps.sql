-- One row per successful look with what was counted since the look before it in the same hour. `filled` holds the last
-- known value of each counter. A counter that appears after looks that lacked it has no step but a value in `appeared`: the
-- next stage knows whether earlier hours had one.
with ordered as (
    select
        *,
        row_number() over looks = 1 as is_first,
        at_us - lag(at_us) over looks as step_us,
        monotonic_us - lag(monotonic_us) over looks as step_monotonic_us,
        lag(slot_number) over looks is distinct from slot_number
        -- A clock that stepped: what lies between may stand in the hour before, also where this one goes on upwards.
        or coalesce(is_clock_step(at_us - lag(at_us) over looks, monotonic_us - lag(monotonic_us) over looks), false)
            as starts_piece,
        {
            input: last_value(counters.input ignore nulls) over until_now,
            cached: last_value(counters.cached ignore nulls) over until_now,
            output: last_value(counters.output ignore nulls) over until_now,
            requests: last_value(counters.requests ignore nulls) over until_now,
            draft: last_value(counters.draft ignore nulls) over until_now,
            accepted: last_value(counters.accepted ignore nulls) over until_now,
            ttft_count: last_value(counters.ttft_count ignore nulls) over until_now,
            inter_token_count: last_value(counters.inter_token_count ignore nulls) over until_now,
            ttft: last_value(counters.ttft ignore nulls) over until_now,
            inter_token: last_value(counters.inter_token ignore nulls) over until_now,
            prefill: last_value(counters.prefill ignore nulls) over until_now,
            decode: last_value(counters.decode ignore nulls) over until_now
        } as filled
    from work_token_rows
    where is_success
    window
        looks as (partition by series_key, hour_number order by monotonic_us),
        until_now as (
            partition by series_key, hour_number order by monotonic_us
            rows between unbounded preceding and current row
        )
),

stepped as (
    select
        *,
        counter_steps(counters, lag(filled) over looks) as steps,
        lag(filled) over looks as prior,
        sum(starts_piece::integer) over looks as island
    from ordered
    window looks as (partition by series_key, hour_number order by monotonic_us)
)

select
    s.* exclude (prior),
    {
        input: case when not s.starts_piece and s.prior.input is null then s.counters.input end,
        cached: case when not s.starts_piece and s.prior.cached is null then s.counters.cached end,
        output: case when not s.starts_piece and s.prior.output is null then s.counters.output end,
        requests: case when not s.starts_piece and s.prior.requests is null then s.counters.requests end,
        draft: case when not s.starts_piece and s.prior.draft is null then s.counters.draft end,
        accepted: case when not s.starts_piece and s.prior.accepted is null then s.counters.accepted end,
        ttft_count: case when not s.starts_piece and s.prior.ttft_count is null then s.counters.ttft_count end,
        inter_token_count: case when not s.starts_piece and s.prior.inter_token_count is null then s.counters.inter_token_count end,
        ttft: case when not s.starts_piece and s.prior.ttft is null then s.counters.ttft end,
        inter_token: case when not s.starts_piece and s.prior.inter_token is null then s.counters.inter_token end,
        prefill: case when not s.starts_piece and s.prior.prefill is null then s.counters.prefill end,
        decode: case when not s.starts_piece and s.prior.decode is null then s.counters.decode end
    } as appeared,
    step_fault(s.steps, s.step_monotonic_us, l.tokens_per_second_max, l.is_start_known) as fault
from stepped as s
inner join work_token_limits as l on s.series_key = l.series_key
