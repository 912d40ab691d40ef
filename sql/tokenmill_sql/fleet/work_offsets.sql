-- One row per node, boot and hour whose times must be moved, and the microseconds to add. A clock that is less than the
-- tolerance off is left alone; an hour without live messages takes the node's last live offset of the 24 h before.
with known as (
    select
        hour_at,
        node,
        boot_id,
        is_driven,
        coalesce(
            live_offset_us,
            last_value(live_offset_us ignore nulls) over (
                partition by node, boot_id
                order by hour_at
                range between interval 24 hours preceding and current row
            )
        ) as offset_us
    from measured.clock_offsets
)
select
    hour_at,
    node,
    boot_id,
    offset_us
from known
where not is_driven and abs(offset_us) > getvariable('clock_offset_tolerance_us')
