-- One row per hour and charge: the best level at which it can reach nodes, and what its machine type holds.
with types as (
    select
        h.hour_at,
        t.provider,
        t.instance_type,
        arg_max(t.gpu_sku, t.valid_from_at) as gpu_sku,
        arg_max(t.gpu_count, t.valid_from_at) as gpu_count
    from fleet.instance_types as t
    inner join work_hours as h on t.valid_from_at <= h.hour_at
    group by all
),

linked as (
    select distinct
        hour_at,
        provider,
        resource_id
    from work_price_links
)

select
    c.hour_at,
    c.delivery_id,
    c.row_number,
    c.provider,
    c.account,
    c.line,
    c.region_id as region,
    c.resource_id,
    c.capacity_reservation_id,
    c.billed_us,
    c.is_gpu_time,
    c.overlap_us,
    coalesce(c.instance_type, s.instance_type) as instance_type,
    coalesce(t.gpu_sku, s.gpu_sku) as gpu_sku,
    coalesce(t.gpu_count, s.gpu_count) as gpu_count,
    case
        when c.line in ('unused_commitment', 'unused_capacity') then 'none'
        when r.resource_id is not null then 'resource'
        when p.resource_id is not null then 'pool'
        when c.line = 'usage' and coalesce(c.instance_type, s.instance_type) is not null then 'account_sku_region'
        else 'none'
    end as match_level
from work_price_charges as c
left join types as t
    on c.hour_at = t.hour_at and c.provider = t.provider and c.instance_type = t.instance_type
left join types as s
    on c.hour_at = s.hour_at and c.provider = s.provider and c.sku_id = s.instance_type
left join linked as r
    on c.hour_at = r.hour_at and c.provider = r.provider and c.resource_id = r.resource_id
left join linked as p
    on c.hour_at = p.hour_at and c.provider = p.provider and c.capacity_reservation_id = p.resource_id
