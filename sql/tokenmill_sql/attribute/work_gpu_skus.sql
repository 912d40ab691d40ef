-- One row per GPU name and hour: the product it is, or '(unknown)'.
with names as (
    select distinct
        i.gpu_name,
        h.hour_at
    from fleet.gpu_intervals as i
    cross join work_hours as h
)

select
    n.gpu_name,
    n.hour_at,
    coalesce(
        arg_max(s.gpu_sku, (length(s.name_pattern), s.valid_from_at)) filter (
            regexp_matches(n.gpu_name, s.name_pattern, 'i')
        ),
        '(unknown)'
    ) as gpu_sku
from names as n
left join fleet.gpu_skus as s on s.valid_from_at <= n.hour_at
group by all
