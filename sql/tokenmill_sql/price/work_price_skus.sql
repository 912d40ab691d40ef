-- One row per hour and GPU product of the batch: its generation and planned power as stated for that hour.
with wanted as (
    select distinct
        hour_at,
        gpu_sku
    from work_price_use
    union
    select distinct
        hour_at,
        gpu_sku
    from work_price_unobserved
)

select
    w.hour_at,
    w.gpu_sku,
    coalesce(arg_max(s.gpu_generation, s.valid_from_at), '(unknown)') as gpu_generation,
    coalesce(arg_max(s.generation_order, s.valid_from_at), 0) as generation_order,
    max_by(s, s.valid_from_at).provisioned_watts as provisioned_watts,
    coalesce(max_by(s, s.valid_from_at).provisioned_source, '(none)') as provisioned_source
from wanted as w
left join fleet.gpu_skus as s on w.gpu_sku = s.gpu_sku and s.valid_from_at <= w.hour_at
group by w.hour_at, w.gpu_sku
