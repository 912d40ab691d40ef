-- One row per hour and deployment with a server: the one vantage whose tokens are counted, NULL where none can be, why, and
-- what engines and front ends counted, each in whole and in the slots in which both are known.
-- Whoever adds two vantages counts each token twice; whoever takes half of one counts half of them.
with placed as (
    select
        hour_at,
        cluster,
        deployment,
        replica
    from work_use
    where bucket = 'serving'
    group by all
    having sum(held_us) / count(distinct gpu_uuid) > getvariable('slot_tolerance_us')
),

generations as (
    select
        u.hour_at,
        u.cluster,
        u.deployment,
        list(distinct coalesce(g.gpu_generation, '(unknown)')) as gpu_generations
    from (select distinct hour_at, cluster, deployment, gpu_sku from work_use where bucket = 'serving') as u
    asof left join fleet.gpu_skus as g on u.gpu_sku = g.gpu_sku and u.hour_at >= g.valid_from_at
    group by all
),

servers as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        role,
        sum(known_us) > 0 and (role = 'decode' or count(input_tokens) > 0)
        and (role = 'prefill' or count(output_tokens) > 0) as is_known,
        sum(known_us) > 0 and count(input_tokens) + count(output_tokens) > 0 as is_known_in_part
    from work_server_slots
    where vantage = 'engine'
    group by hour_at, cluster, deployment, replica, role
),

units as (
    select
        hour_at,
        cluster,
        deployment,
        replica,
        bool_or(is_known) as is_known,
        bool_or(is_known_in_part) as is_known_in_part
    from servers
    group by all
),

missing as (
    select
        p.hour_at,
        p.cluster,
        p.deployment,
        count(*) filter (not coalesce(u.is_known, false)) as unknown_count,
        count(*) filter (not coalesce(u.is_known_in_part, false)) as silent_count
    from placed as p
    left join units as u using (hour_at, cluster, deployment, replica)
    group by all
),

roles as (
    select
        hour_at,
        cluster,
        deployment,
        bool_or(role = 'unknown') as is_role_unknown,
        -- Prompts are counted where they are read and answers where they are written: one without the other is half.
        bool_or(role in ('aggregated', 'prefill')) and bool_or(role in ('aggregated', 'decode')) as is_whole
    from servers
    group by all
),

frontends as (
    select
        hour_at,
        cluster,
        deployment,
        bool_or(known_us > 0) and count(input_tokens) > 0 and count(output_tokens) > 0 as is_known
    from work_vantage_slots
    where vantage = 'frontend'
    group by all
),

times as (
    select
        hour_at,
        cluster,
        deployment,
        coalesce(sum(known_us) filter (vantage = 'engine'), 0) as engine_us,
        coalesce(sum(known_us) filter (vantage = 'frontend'), 0) as frontend_us
    from work_vantage_slots
    group by all
),

-- Compared are the slots in which both are known: what only one of them saw is no difference.
compared as (
    select
        e.hour_at,
        e.cluster,
        e.deployment,
        sum(e.input_tokens + e.output_tokens) as engine_tokens,
        sum(f.input_tokens + f.output_tokens) as frontend_tokens
    from work_vantage_slots as e
    inner join work_vantage_slots as f using (hour_at, slot, cluster, deployment)
    where
        e.vantage = 'engine'
        and f.vantage = 'frontend'
        and least(e.known_us, f.known_us) >= slot_us() - getvariable('slot_tolerance_us')
    group by all
),

totals as (
    select
        hour_at,
        cluster,
        deployment,
        sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) filter (
            vantage = 'engine' and (input_tokens is not null or output_tokens is not null)
        )::bigint as engine_tokens,
        sum(input_tokens + output_tokens) filter (vantage = 'frontend')::bigint as frontend_tokens
    from work_vantage_slots
    group by all
),

judged as (
    select
        t.*,
        r.hour_at is not null and not r.is_role_unknown and r.is_whole and coalesce(m.unknown_count, 0) = 0 as is_engine_whole,
        r.hour_at is not null and not r.is_role_unknown and coalesce(m.silent_count, 0) = 0 as is_engine_part,
        coalesce(f.is_known, false) and len(g.gpu_generations) = 1 and g.gpu_generations[1] <> '(unknown)'
            as is_frontend_usable,
        h.engine_us,
        h.frontend_us,
        coalesce(r.is_role_unknown, false) as is_role_unknown,
        abs(c.frontend_tokens - c.engine_tokens) / nullif(greatest(c.frontend_tokens, c.engine_tokens), 0)
            as difference_share
    from totals as t
    left join roles as r using (hour_at, cluster, deployment)
    left join missing as m using (hour_at, cluster, deployment)
    left join frontends as f using (hour_at, cluster, deployment)
    left join generations as g using (hour_at, cluster, deployment)
    left join compared as c using (hour_at, cluster, deployment)
    left join times as h using (hour_at, cluster, deployment)
),

chosen as (
    select
        *,
        case
            -- Engines that were known for a part of the hour only give way to a front end that was known for longer.
            when
                is_engine_whole
                and not (is_frontend_usable and frontend_us > engine_us + 12 * getvariable('slot_tolerance_us'))
                then 'engine'
            when is_frontend_usable and (not is_engine_part or frontend_us >= engine_us) then 'frontend'
            when is_engine_part then 'engine'
        end as vantage
    from judged
)

select
    hour_at,
    cluster,
    deployment,
    vantage,
    engine_tokens,
    frontend_tokens,
    round(difference_share, 9) as difference_share,
    reasons_of([
        case when vantage is null and is_role_unknown then 'role_unknown' end,
        case
            when (vantage is null and not is_role_unknown) or (vantage = 'engine' and not is_engine_whole)
                then 'vantage_incomplete'
        end,
        case when vantage = 'engine' and is_engine_whole and difference_share > getvariable('vantage_cross_check_share') then 'vantages_differ' end
    ]) as reasons
from chosen
