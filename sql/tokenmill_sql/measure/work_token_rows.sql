-- One row per look at a counter series in the hours, on the corrected clock, copies left out. A look that failed, or that
-- found a value which is no count, is none: only a counter that a good look lacked counts from 0 when it appears.
with shifted as (
    select
        s.series_key,
        s.monotonic_us,
        s.sampled_at_us + coalesce(o.offset_us, 0) as at_us,
        s.reason,
        coalesce(s.reason not in ('scrape_failed', 'metrics_disabled', 'invalid_value'), true) as is_success,
        {
            input: s.input_tokens,
            cached: s.cached_input_tokens,
            output: s.output_tokens,
            requests: s.requests,
            draft: s.draft_tokens,
            accepted: s.accepted_tokens,
            ttft_count: s.ttft_count,
            inter_token_count: s.inter_token_count,
            ttft: s.ttft_seconds_sum,
            inter_token: s.inter_token_seconds_sum,
            prefill: s.prefill_busy_seconds,
            decode: s.decode_busy_seconds
        } as counters
    from hour_token_samples as s
    left join work_offsets as o
        on s.node = o.node and s.boot_id = o.boot_id and hour_of(s.sampled_at_us) = o.hour_at
)

select
    *,
    at_us // slot_us() as slot_number,
    at_us // hour_us() as hour_number
from shifted
where at_us >= getvariable('hours_from_us') and at_us < getvariable('hours_to_us')
qualify row_number() over (partition by series_key, at_us // hour_us(), monotonic_us order by is_success desc) = 1
