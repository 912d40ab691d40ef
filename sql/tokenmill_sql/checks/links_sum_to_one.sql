-- warn: the shares of a billed resource sum to 1; others are taken in proportion
select
    hour_at,
    provider,
    format('resource {}: its shares sum to {}', resource_id, sum(parts) / 1e9) as detail
from work_price_links
group by hour_at, provider, resource_id
having abs(sum(parts) / 1e9 - 1) > 1e-6
