-- One row per hour, billed machine and level: the time that the bill says it ran, of GPUs where `is_gpu_time`. A charge for
-- a node's own resource says that the node ran, also where it does not say what kind of machine that is.
with machines as (
    select
        hour_at,
        provider,
        account,
        match_level,
        region,
        instance_type,
        gpu_sku,
        gpu_count,
        resource_id,
        capacity_reservation_id,
        is_gpu_time,
        -- What is negated and booked anew counts once; without a quantity a machine ran as long as its row lasts.
        greatest(0, coalesce(sum(billed_us), max(overlap_us)))::bigint as billed_us
    from work_price_levels
    where line = 'usage' and (instance_type is not null or match_level = 'resource')
    group by all
)

select
    * exclude (billed_us),
    -- A machine with a name of its own cannot run for longer than the hour.
    case when is_gpu_time or resource_id is null then billed_us else least(billed_us, hour_us()) end as machine_us
from machines
