-- fail: every joule that a GPU's counter rose by is in the fact
with sides as (
    select
        hour_at,
        provider,
        gpu_energy_millijoules / 1000 as used,
        0 as counted
    from hourly.unit_use
    semi join work_hours using (hour_at)
    union all
    select
        hour_at,
        provider,
        0 as used,
        gpu_energy_joules as counted
    from work_economics
)

select
    hour_at,
    provider,
    format('unit_use holds {} J of GPU energy, the fact {} J', sum(used), sum(counted)) as detail
from sides
group by hour_at, provider
having abs(sum(used) - sum(counted)) > 1e-9 * sum(used)
