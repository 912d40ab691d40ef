-- One row per unit and slot in which it holds GPUs: whether it is complete and which of its figures are known for the
-- whole of it.
with gpus as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        replica,
        gpu_uuid,
        max(role) as role,
        sum(held_us) as held_us,
        sum(gpu_time_us) as gpu_time_us,
        sum(known_us) as known_us
    from work_use
    where bucket = 'serving'
    group by all
),

placed as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        replica,
        count(*) filter (gpu_time_us > 0) as gpu_count,
        max(role) as role,
        max(held_us) as unit_us,
        min(held_us) filter (held_us > 0) as least_held_us,
        sum(gpu_time_us) as gpu_time_us,
        sum(known_us) as energy_known_us
    from gpus
    group by all
),

counted as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        replica,
        address,
        rank,
        sum(known_us) as known_us
    from work_server_slots
    where vantage = 'engine'
    group by all
    union all by name
    select
        hour_at,
        slot,
        cluster,
        deployment,
        replica,
        address,
        0 as known_us
    from work_silent_servers
    where vantage = 'engine'
),

tokens as (
    select
        hour_at,
        slot,
        cluster,
        deployment,
        replica,
        min(known_us) as known_us
    from counted
    group by all
),

judged as (
    select
        p.*,
        least(coalesce(case when v.vantage = 'frontend' then f.known_us else t.known_us end, 0), p.unit_us)
            as token_known_us,
        v.vantage,
        -- Front ends count for all units at once, whose time in the slot need not be one: the whole slot must be known.
        coalesce(f.known_us, 0) >= slot_us() - getvariable('slot_tolerance_us') as is_frontend_known,
        s.deployment is not null as is_any_gpu_silent,
        u.expected_gpu_count,
        coalesce(
            p.gpu_count = u.expected_gpu_count and p.least_held_us >= p.unit_us - getvariable('slot_tolerance_us'), false
        ) as is_complete,
        coalesce(u.role, p.role) as unit_role
    from placed as p
    left join tokens as t using (hour_at, slot, cluster, deployment, replica)
    left join work_units as u using (hour_at, cluster, deployment, replica)
    left join work_vantages as v using (hour_at, cluster, deployment)
    left join work_vantage_slots as f
        on
            p.hour_at = f.hour_at
            and p.slot = f.slot
            and p.cluster = f.cluster
            and p.deployment = f.deployment
            and f.vantage = 'frontend'
    left join work_silent_gpus as s
        on p.hour_at = s.hour_at and p.slot = s.slot and p.cluster = s.cluster and p.deployment = s.deployment
),

scoped as (
    select
        *,
        case
            when vantage = 'frontend' or unit_role in ('prefill', 'decode') then '(deployment)'
            else replica
        end as scope
    from judged
)

select
    *,
    -- A deployment that splits prefill from decode, or that its front end counts, is known where all of it is.
    vantage is not null
    and case
        when vantage = 'frontend' then is_frontend_known
        else bool_and(unit_us > 0 and token_known_us >= unit_us - getvariable('slot_tolerance_us')) over whole
    end as is_token_known,
    bool_and(is_complete) over whole
    and not (scope = '(deployment)' and is_any_gpu_silent)
    and bool_and(scope <> '(deployment)' or unit_role in ('aggregated', 'prefill', 'decode')) over whole
    and bool_or(scope <> '(deployment)' or unit_role in ('aggregated', 'prefill')) over whole
    and bool_or(scope <> '(deployment)' or unit_role in ('aggregated', 'decode')) over whole as is_scope_complete,
    bool_and(
        unit_us > 0 and energy_known_us >= gpu_time_us - getvariable('slot_tolerance_us') * gpu_count
    ) over whole as is_energy_known
from scoped
window whole as (partition by hour_at, slot, cluster, deployment, scope)
