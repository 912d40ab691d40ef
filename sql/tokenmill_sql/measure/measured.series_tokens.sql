-- One row per hour, five-minute slot, counter series and piece: increases between its own looks, and its edges.
with pieces as (
    select
        series_key,
        slot_number,
        (row_number() over (partition by series_key, slot_number order by min(monotonic_us)))::smallint as piece,
        count(*) as look_count,
        arg_min(at_us, monotonic_us) as first_at_us,
        arg_max(at_us, monotonic_us) as last_at_us,
        min(monotonic_us) as first_monotonic_us,
        max(monotonic_us) as last_monotonic_us,
        arg_min(counters, monotonic_us) as first_counters,
        arg_max(filled, monotonic_us) as last_counters,
        {
            input: sum(steps.input) filter (not starts_piece and fault is null and steps.input >= 0),
            cached: sum(steps.cached) filter (not starts_piece and fault is null and steps.cached >= 0),
            output: sum(steps.output) filter (not starts_piece and fault is null and steps.output >= 0),
            requests: sum(steps.requests) filter (not starts_piece and fault is null and steps.requests >= 0),
            draft: sum(steps.draft) filter (not starts_piece and fault is null and steps.draft >= 0),
            accepted: sum(steps.accepted) filter (not starts_piece and fault is null and steps.accepted >= 0),
            ttft_count: sum(steps.ttft_count) filter (not starts_piece and fault is null and steps.ttft_count >= 0),
            inter_token_count: sum(steps.inter_token_count) filter (not starts_piece and fault is null and steps.inter_token_count >= 0),
            ttft: sum(steps.ttft) filter (not starts_piece and fault is null and steps.ttft >= 0),
            inter_token: sum(steps.inter_token) filter (not starts_piece and fault is null and steps.inter_token >= 0),
            prefill: sum(steps.prefill) filter (not starts_piece and fault is null and steps.prefill >= 0),
            decode: sum(steps.decode) filter (not starts_piece and fault is null and steps.decode >= 0)
        } as increases,
        {
            input: max(appeared.input),
            cached: max(appeared.cached),
            output: max(appeared.output),
            requests: max(appeared.requests),
            draft: max(appeared.draft),
            accepted: max(appeared.accepted),
            ttft_count: max(appeared.ttft_count),
            inter_token_count: max(appeared.inter_token_count),
            ttft: max(appeared.ttft),
            inter_token: max(appeared.inter_token),
            prefill: max(appeared.prefill),
            decode: max(appeared.decode)
        } as appeared,
        coalesce(sum(step_us) filter (not starts_piece and fault is null), 0)::bigint as known_us,
        coalesce(sum(step_us) filter (not starts_piece and fault is not null), 0)::bigint as set_aside_us,
        coalesce(sum(set_aside(steps)) filter (not starts_piece and fault is not null), 0)::bigint as set_aside_tokens,
        list_sort(coalesce(list(distinct fault) filter (not starts_piece and fault is not null), [])) as reasons
    from work_token_steps
    group by series_key, slot_number, island
),

failed as (
    select
        series_key,
        slot_number,
        count(*) as failed_look_count,
        list(distinct reason) as reasons
    from work_token_rows
    where not is_success
    group by all
),

joined as (
    select
        coalesce(p.series_key, f.series_key) as series_key,
        coalesce(p.slot_number, f.slot_number) as slot_number,
        coalesce(p.piece, 0) as piece,
        coalesce(p.look_count, 0) as look_count,
        coalesce(f.failed_look_count, 0) as failed_look_count,
        p.* exclude (series_key, slot_number, piece, look_count, known_us, set_aside_us, set_aside_tokens, reasons),
        coalesce(p.known_us, 0) as known_us,
        coalesce(p.set_aside_us, 0) as set_aside_us,
        coalesce(p.set_aside_tokens, 0) as set_aside_tokens,
        reasons_of(coalesce(p.reasons, []::varchar[]) || coalesce(f.reasons, []::varchar[])) as reasons
    from pieces as p
    full join failed as f on p.series_key = f.series_key and p.slot_number = f.slot_number and p.piece = 1
)

select
    make_timestamp((j.slot_number // 12) * hour_us()) as hour_at,
    (j.slot_number % 12)::tinyint as slot,
    j.* exclude (slot_number)
from joined as j
semi join work_hours as h on make_timestamp((j.slot_number // 12) * hour_us()) = h.hour_at
order by j.series_key, j.first_monotonic_us
