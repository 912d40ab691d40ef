-- One row per node, boot and hour of the node's clock in the new slices: the least delay of a live message.
select
    hour_of(sent_at_us) as hour_at,
    node,
    boot_id,
    min(appended_at_us - sent_at_us) filter (delivery = 'live' and clock = 'system') as live_offset_us,
    bool_and(clock = 'driven') as is_driven
from new_messages
group by all
