-- warn: a bill covers the hour and no charge of it reaches a node that was seen
select
    hour_at,
    provider,
    format('{} GPU-seconds of {} in account {} have no charge', sum(gpu_seconds_paid), gpu_sku, account) as detail
from work_economics
where list_contains(cost_reasons, 'no_matching_charge') or list_contains(cost_reasons, 'account_unknown')
group by hour_at, provider, account, gpu_sku
