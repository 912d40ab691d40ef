-- fail: charges in scope and estimates are in effective_cost, and again in all_in_cost
with sides as (
    select
        hour_at,
        provider,
        reporting_cost as charged,
        0 as effective,
        0 as all_in
    from work_charge_lines
    union all
    select
        hour_at,
        provider,
        0 as charged,
        effective_cost as effective,
        all_in_cost as all_in
    from work_economics
)

select
    hour_at,
    provider,
    format(
        'charge lines hold {} {}, effective_cost {}, all_in_cost {}',
        sum(charged),
        getvariable('reporting_currency'),
        sum(effective),
        sum(all_in)
    ) as detail
from sides
group by hour_at, provider
having
    greatest(abs(sum(charged) - sum(effective)), abs(sum(charged) - sum(all_in)))
    > greatest(1e-9 * sum(abs(charged)), 1e-9)
