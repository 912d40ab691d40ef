-- One row per billed resource that two nodes answer to at the same time.
select distinct
    a.provider,
    a.resource_id
from work_link_candidates as a
inner join work_link_candidates as b
    on
        a.provider = b.provider
        and a.resource_id = b.resource_id
        and a.node < b.node
        and a.valid_from_at < b.last_seen_at
        and b.valid_from_at < a.last_seen_at
