-- One row per new message, its times moved to the corrected clock.
select
    m.* exclude (sent_at_us, first_sampled_at_us, last_sampled_at_us),
    m.sent_at_us + coalesce(o.offset_us, 0) as sent_at_us,
    least(m.sent_at_us, m.first_sampled_at_us) + coalesce(o.offset_us, 0) as first_at_us,
    greatest(m.sent_at_us, m.last_sampled_at_us) + coalesce(o.offset_us, 0) as last_at_us
from new_messages as m
left join work_offsets as o
    on m.node = o.node and m.boot_id = o.boot_id and hour_of(m.sent_at_us) = o.hour_at
