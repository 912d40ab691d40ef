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
        least(coalesce(t.known_us, 0), p.unit_us) as token_known_us,
        u.expected_gpu_count,
        coalesce(
            p.gpu_count = u.expected_gpu_count and p.least_held_us >= p.unit_us - getvariable('slot_tolerance_us'), false
        ) as is_complete,
        coalesce(u.role, p.role) as unit_role
    from placed as p
    left join tokens as t using (hour_at, slot, cluster, deployment, replica)
    left join work_units as u using (hour_at, cluster, deployment, replica)
)

select
    *,
    -- A deployment that splits prefill from decode is known where all of it is, both roles among it.
    bool_and(unit_us > 0 and token_known_us >= unit_us - getvariable('slot_tolerance_us')) over scope
    and (unit_role not in ('prefill', 'decode') or count(distinct unit_role) over scope = 2) as is_token_known,
    bool_and(is_complete) over scope as is_scope_complete,
    bool_and(
        unit_us > 0 and energy_known_us >= gpu_time_us - getvariable('slot_tolerance_us') * gpu_count
    ) over scope as is_energy_known
from judged
window scope as (
    partition by
        hour_at, slot, cluster, deployment,
        case when unit_role in ('prefill', 'decode') then '(deployment)' else replica end
)
