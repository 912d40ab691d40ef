-- One row per hour, billed resource and node: its part, from the newest set of links that began before the hour's end.
with wanted as (
    select distinct
        hour_at,
        provider,
        resource_id
    from work_price_charges
    where resource_id is not null
    union
    select distinct
        hour_at,
        provider,
        capacity_reservation_id as resource_id
    from work_price_charges
    where capacity_reservation_id is not null
),

candidates as (
    select
        w.hour_at,
        w.provider,
        w.resource_id,
        l.node,
        -- Whole parts of a thousand million: sums of them are exact.
        round(l.share * 1e9)::bigint as parts,
        l.valid_from_at,
        max(l.valid_from_at) over (partition by w.hour_at, w.provider, w.resource_id) as newest_at
    from wanted as w
    inner join billing.resource_links as l
        on
            w.provider = l.provider
            and w.resource_id = l.resource_id
            and l.valid_from_at < w.hour_at + interval 1 hour
)

select
    hour_at,
    provider,
    resource_id,
    node,
    parts,
    sum(parts) over (partition by hour_at, provider, resource_id order by node) as parts_until,
    sum(parts) over (partition by hour_at, provider, resource_id) as parts_total
from candidates
where valid_from_at = newest_at
