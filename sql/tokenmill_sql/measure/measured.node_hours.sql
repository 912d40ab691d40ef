-- One row per node, boot and hour of the node's clock: messages that came, came twice, or that the sequences say are missing.
with runs as (
    select
        hour_of(m.sent_at_us + coalesce(o.offset_us, 0)) as hour_at,
        m.node,
        m.boot_id,
        m.run_id,
        m.kind,
        count(*) as message_count,
        count(distinct m.sequence) as distinct_count,
        max(m.sequence) - min(m.sequence) + 1 as span_count,
        max(abs(coalesce(o.offset_us, 0))) as offset_magnitude_us,
        arg_max(coalesce(o.offset_us, 0), abs(coalesce(o.offset_us, 0))) as offset_us,
        bool_or(m.delivery = 'live' and m.clock = 'system') as is_verified,
        bool_and(m.clock = 'driven') as is_driven
    from hour_messages as m
    left join work_offsets as o on m.node = o.node and m.boot_id = o.boot_id and hour_of(m.sent_at_us) = o.hour_at
    group by all
)

select
    r.hour_at,
    r.node,
    r.boot_id,
    sum(r.message_count)::bigint as message_count,
    sum(r.span_count - r.distinct_count)::bigint as missing_message_count,
    sum(r.message_count - r.distinct_count)::bigint as duplicate_message_count,
    count(distinct r.run_id) as run_count,
    arg_max(r.offset_us, r.offset_magnitude_us)::bigint as clock_offset_us,
    case
        when bool_and(r.is_driven) then 'driven'
        when bool_or(r.is_verified) then 'live'
        when max(r.offset_magnitude_us) > 0 then 'last_live'
        else 'clock_unverified'
    end as clock_basis
from runs as r
semi join work_hours as h on r.hour_at = h.hour_at
group by all
