-- One row per node, slot and host counter: its energy, linear at the slot's edges, and how much of the slot is known.
with spread as (
    select
        *,
        unnest(range(
            greatest(from_us, getvariable('hours_from_us')) // slot_us(),
            (least(to_us, getvariable('hours_to_us')) - 1) // slot_us() + 1
        )) * slot_us() as slot_from_us
    from work_host_segments
    where from_us < getvariable('hours_to_us') and to_us > getvariable('hours_from_us')
)

select
    hour_of(slot_from_us) as hour_at,
    slot_of(slot_from_us) as slot,
    node,
    host_scope,
    host_source,
    host_id,
    sum(
        spread_before(energy_millijoules, from_us, to_us, slot_from_us + slot_us())
        - spread_before(energy_millijoules, from_us, to_us, slot_from_us)
    )::bigint as energy_millijoules,
    sum(
        spread_before(known_us, from_us, to_us, slot_from_us + slot_us())
        - spread_before(known_us, from_us, to_us, slot_from_us)
    )::bigint as known_us
from spread
group by all
