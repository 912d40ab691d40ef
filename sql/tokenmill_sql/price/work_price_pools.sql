-- One row per hour and pool of billed machines that carry no node's name: one account's machines of a type in a region.
select
    hour_at,
    provider,
    account,
    instance_type,
    coalesce(region, '(any)') as region,
    format('(pool {} {})', instance_type, coalesce(region, '(any)')) as pool,
    min(gpu_sku) as gpu_sku,
    sum(case when is_gpu_time then machine_us else machine_us * gpu_count end)::bigint as billed_gpu_us
from work_price_billed_time
where match_level = 'account_sku_region'
group by all
