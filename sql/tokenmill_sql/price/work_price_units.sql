-- One row per hour and unit that holds GPUs: its products and generations, and what is known of all of its GPUs.
-- A deployment that splits prefill from decode, or that its front end counts, counts as one.
with frontends as (
    select distinct
        hour_at,
        cluster,
        deployment
    from hourly.unit_tokens
    semi join work_hours using (hour_at)
    where vantage = 'frontend' and counted_vantage = 'frontend'
),

serving as (
    select
        c.*,
        case when c.role in ('prefill', 'decode') or f.hour_at is not null then '(deployment)' else c.replica end as scope
    from work_price_cells as c
    left join frontends as f
        on c.hour_at = f.hour_at and c.cluster = f.cluster and c.deployment = f.deployment
    where c.bucket = 'serving'
),

products as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        gpu_sku,
        min(generation_order) as generation_order
    from serving
    group by all
),

generations as (
    select
        hour_at,
        cluster,
        deployment,
        scope,
        gpu_generation,
        min(generation_order) as generation_order
    from serving
    group by all
),

-- In order of release, so that one mixture has one name.
product_names as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        string_agg(gpu_sku, '+' order by generation_order, gpu_sku) as gpu_sku
    from products
    group by all
),

generation_names as (
    select
        hour_at,
        cluster,
        deployment,
        scope,
        string_agg(gpu_generation, '+' order by generation_order, gpu_generation) as gpu_generation
    from generations
    group by all
),

known as (
    select
        hour_at,
        cluster,
        deployment,
        scope,
        bool_and(is_cost_known) as is_cost_known,
        -- What has no matched time has no matched energy either, and takes nothing from the rest.
        coalesce(
            bool_and(matched_node_energy_millijoules is not null) filter (energy_matched_gpu_time_us > 0), false
        ) as is_node_known,
        coalesce(
            bool_and(matched_facility_energy_millijoules is not null) filter (energy_matched_gpu_time_us > 0), false
        ) as is_facility_known,
        bool_and(provisioned_energy_millijoules is not null) as is_provisioned_known
    from serving
    group by all
),

units as (
    select distinct
        hour_at,
        cluster,
        deployment,
        replica,
        scope
    from serving
)

select
    u.hour_at,
    -- What joins to it has a bucket too: a condition on one side alone would make the join compare every pair of rows.
    'serving' as bucket,
    u.cluster,
    u.deployment,
    u.replica,
    max(p.gpu_sku) as gpu_sku,
    max(g.gpu_generation) as gpu_generation,
    bool_and(k.is_cost_known) as is_cost_known,
    bool_and(k.is_node_known) as is_node_known,
    bool_and(k.is_facility_known) as is_facility_known,
    bool_and(k.is_provisioned_known) as is_provisioned_known
from units as u
inner join product_names as p using (hour_at, cluster, deployment, replica)
inner join generation_names as g using (hour_at, cluster, deployment, scope)
inner join known as k using (hour_at, cluster, deployment, scope)
group by all
