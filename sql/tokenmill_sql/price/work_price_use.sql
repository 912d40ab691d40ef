-- One row per row of unit_use of the batch: the account that pays, and a product for GPUs that nobody sees.
with products as (
    select
        hour_at,
        node,
        min(gpu_sku) as gpu_sku
    from hourly.unit_use
    semi join work_hours using (hour_at)
    where gpu_sku <> '(unknown)'
    group by all
    having count(distinct gpu_sku) = 1
),

types as (
    select
        h.hour_at,
        t.provider,
        t.instance_type,
        arg_max(t.gpu_sku, t.valid_from_at) as gpu_sku
    from fleet.instance_types as t
    inner join work_hours as h on t.valid_from_at <= h.hour_at
    group by all
)

select
    u.* exclude (account, gpu_sku),
    a.billed_account as account,
    -- An unseen GPU is taken to be like the node's others, else what its machine type holds.
    case
        when u.bucket = 'unobserved' and u.gpu_sku = '(unknown)' then coalesce(p.gpu_sku, t.gpu_sku, u.gpu_sku)
        else u.gpu_sku
    end as gpu_sku,
    case when u.bucket = 'unobserved' and u.gpu_sku = '(unknown)' then 'unseen' else 'seen' end as origin
from hourly.unit_use as u
semi join work_hours as h on u.hour_at = h.hour_at
inner join work_price_accounts as a on u.hour_at = a.hour_at and u.provider = a.provider and u.account = a.account
left join products as p on u.hour_at = p.hour_at and u.node = p.node
left join types as t
    on u.hour_at = t.hour_at and u.provider = t.provider and u.instance_type = t.instance_type
