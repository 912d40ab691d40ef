-- One row per piece of the hours with a successful look, and of the nearest hour on either side, in order; `prior` holds
-- the last known value of each counter before the piece.
with near as (
    select
        series_key,
        max(hour_at) filter (hour_at < make_timestamp(getvariable('hours_from_us'))) as before_at,
        min(hour_at) filter (hour_at >= make_timestamp(getvariable('hours_to_us'))) as after_at
    from measured.series_hours
    where is_token_series
    group by series_key
),

wanted as (
    select series_key, before_at as hour_at from near where before_at is not null
    union all
    select series_key, after_at as hour_at from near where after_at is not null
    union all
    select distinct h.series_key, h.hour_at
    from measured.series_hours as h
    where h.is_token_series and h.hour_at in (select hour_at from work_hours)
),

pieces as (
    select
        t.*,
        s.node,
        s.server_id,
        s.rank
    from measured.series_tokens as t
    inner join wanted as w on t.series_key = w.series_key and t.hour_at = w.hour_at
    inner join measured.token_series as s on t.series_key = s.series_key
    where t.look_count > 0
)

select
    *,
    row_number() over looks = 1 as is_first,
    lag(last_at_us) over looks as previous_at_us,
    first_monotonic_us - lag(last_monotonic_us) over looks as gap_monotonic_us,
    {
        input: coalesce(last_value(last_counters.input ignore nulls) over before, 0),
        cached: coalesce(last_value(last_counters.cached ignore nulls) over before, 0),
        output: coalesce(last_value(last_counters.output ignore nulls) over before, 0),
        requests: coalesce(last_value(last_counters.requests ignore nulls) over before, 0),
        draft: coalesce(last_value(last_counters.draft ignore nulls) over before, 0),
        accepted: coalesce(last_value(last_counters.accepted ignore nulls) over before, 0),
        ttft_count: coalesce(last_value(last_counters.ttft_count ignore nulls) over before, 0),
        inter_token_count: coalesce(last_value(last_counters.inter_token_count ignore nulls) over before, 0),
        ttft: coalesce(last_value(last_counters.ttft ignore nulls) over before, 0),
        inter_token: coalesce(last_value(last_counters.inter_token ignore nulls) over before, 0),
        prefill: coalesce(last_value(last_counters.prefill ignore nulls) over before, 0),
        decode: coalesce(last_value(last_counters.decode ignore nulls) over before, 0)
    } as prior
from pieces
window
    looks as (partition by series_key order by first_monotonic_us),
    before as (
        partition by series_key order by first_monotonic_us rows between unbounded preceding and 1 preceding
    )
