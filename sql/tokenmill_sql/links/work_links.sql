-- One row per billed resource and node that it is, from a date on. A machine was itself before an agent came to it, so the
-- first node of a resource holds from the beginning; a machine that was renamed holds under each name in its turn.
select
    provider,
    resource_id,
    node,
    case
        when row_number() over (partition by provider, resource_id order by valid_from_at, node) = 1
            then timestamp '1970-01-01'
        else valid_from_at
    end as valid_from_at,
    1::double as share,
    method
from work_link_candidates
anti join work_ambiguous_links using (provider, resource_id)
