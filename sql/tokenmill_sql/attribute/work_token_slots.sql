-- One row per counter series and slot: what it counted there, in whole tokens that add up.
with stretched as (
    select
        *,
        unnest(range(
            greatest(from_us, getvariable('hours_from_us')) // slot_us(),
            greatest(least(to_us, getvariable('hours_to_us')) - 1, greatest(from_us, getvariable('hours_from_us')))
            // slot_us() + 1
        )) * slot_us() as slot_from_us
    from work_token_segments
),

parts as (
    select
        *,
        slot_from_us + slot_us() as slot_to_us,
        case
            when to_us > from_us
                then overlap_us(from_us, to_us, slot_from_us, slot_from_us + slot_us()) / (to_us - from_us)
            else 1.0
        end as part
    from stretched
),

counted as (
    select
        p.series_key,
        p.slot_from_us,
        sum(spread_before(p.counts.input, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.input, p.from_us, p.to_us, p.slot_from_us))::bigint as input,
        sum(spread_before(p.counts.cached, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.cached, p.from_us, p.to_us, p.slot_from_us))::bigint as cached,
        sum(spread_before(p.counts.output, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.output, p.from_us, p.to_us, p.slot_from_us))::bigint as output,
        sum(spread_before(p.counts.requests, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.requests, p.from_us, p.to_us, p.slot_from_us))::bigint as requests,
        sum(spread_before(p.counts.draft, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.draft, p.from_us, p.to_us, p.slot_from_us))::bigint as draft,
        sum(spread_before(p.counts.accepted, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.accepted, p.from_us, p.to_us, p.slot_from_us))::bigint as accepted,
        sum(spread_before(p.counts.ttft_count, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.ttft_count, p.from_us, p.to_us, p.slot_from_us))::bigint as ttft_count,
        sum(spread_before(p.counts.inter_token_count, p.from_us, p.to_us, p.slot_to_us) - spread_before(p.counts.inter_token_count, p.from_us, p.to_us, p.slot_from_us))::bigint as inter_token_count,
        sum(p.counts.ttft * p.part) as ttft,
        sum(p.counts.inter_token * p.part) as inter_token,
        sum(p.counts.prefill * p.part) as prefill,
        sum(p.counts.decode * p.part) as decode,
        sum(
            spread_before(p.known_us, p.from_us, p.to_us, p.slot_to_us)
            - spread_before(p.known_us, p.from_us, p.to_us, p.slot_from_us)
        )::bigint as known_us,
        -- Tokens that are set aside are told once, in the slot in which their step began.
        coalesce(sum(p.set_aside_tokens) filter (p.slot_from_us = p.from_us // slot_us() * slot_us()), 0)::bigint
            as set_aside_tokens,
        reasons_of(flatten(list(p.reasons))) as reasons
    from parts as p
    group by all
),

failed as (
    select
        series_key,
        epoch_us(hour_at) + slot * slot_us() as slot_from_us,
        flatten(list(reasons)) as reasons
    from measured.series_tokens
    where hour_at in (select hour_at from work_hours) and failed_look_count > 0
    group by all
)

select
    coalesce(c.series_key, f.series_key) as series_key,
    coalesce(c.slot_from_us, f.slot_from_us) as slot_from_us,
    c.* exclude (series_key, slot_from_us, known_us, set_aside_tokens, reasons),
    coalesce(c.known_us, 0) as known_us,
    coalesce(c.set_aside_tokens, 0) as set_aside_tokens,
    reasons_of(coalesce(c.reasons, []) || coalesce(f.reasons, [])) as reasons
from counted as c
full join failed as f on c.series_key = f.series_key and c.slot_from_us = f.slot_from_us
