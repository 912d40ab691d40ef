-- fail: every joule that a node's input is known to have taken is used by somebody, and is in the fact
with metered as (
    select
        hour_at,
        node,
        sum(node_energy_millijoules) as millijoules
    from measured.node_energy
    semi join work_hours using (hour_at)
    group by hour_at, node
),

used as (
    select
        hour_at,
        provider,
        node,
        sum(node_energy_millijoules) as millijoules
    from hourly.unit_use
    semi join work_hours using (hour_at)
    group by hour_at, provider, node
),

sides as (
    select
        hour_at,
        provider,
        millijoules / 1000 as used,
        0 as counted
    from used
    union all
    select
        hour_at,
        provider,
        0 as used,
        node_energy_joules as counted
    from work_economics
)

-- Hours whose samples are gone keep their use and have nothing metered any more.
select
    m.hour_at,
    coalesce(u.provider, '(unknown)') as provider,
    format('{} took {} mJ, its units {} mJ', m.node, m.millijoules, coalesce(u.millijoules, 0)) as detail
from metered as m
left join used as u on m.hour_at = u.hour_at and m.node = u.node
where coalesce(m.millijoules, 0) <> coalesce(u.millijoules, 0)
union all
select
    hour_at,
    provider,
    format('unit_use holds {} J of node energy, the fact {} J', sum(used), sum(counted)) as detail
from sides
group by hour_at, provider
having abs(sum(used) - sum(counted)) > 1e-9 * sum(used)
