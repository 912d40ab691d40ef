-- One row per holder of a GPU at one look: new looks, and the stored intervals that a new look may extend.
with fresh as (
    select distinct
        p.gpu_uuid,
        p.node,
        coalesce(p.mig_uuid, '(none)') as mig_uuid,
        coalesce(p.deployment, '(none)') as deployment,
        coalesce(p.replica, '(none)') as replica,
        coalesce(p.role, '(none)') as role,
        coalesce(p.model_served, '(unknown)') as model_served,
        coalesce(p.labels, '{}') as labels,
        make_timestamp(p.process_started_at_us) as process_started_at,
        p.share,
        p.basis,
        p.observed_at_us + coalesce(o.offset_us, 0) as first_at_us,
        p.observed_at_us + coalesce(o.offset_us, 0) as last_at_us,
        false as is_stored,
        null::timestamp as valid_from_at
    from new_placements as p
    left join work_offsets as o
        on p.node = o.node and p.boot_id = o.boot_id and hour_of(p.observed_at_us) = o.hour_at
),

boundary as (
    select
        f.gpu_uuid,
        f.node,
        coalesce(max(i.first_seen_at), make_timestamp(min(f.first_at_us))) as boundary_at
    from (select gpu_uuid, node, min(first_at_us) as first_at_us from fresh group by all) as f
    left join fleet.placement_intervals as i
        on f.gpu_uuid = i.gpu_uuid and f.node = i.node and epoch_us(i.first_seen_at) <= f.first_at_us
    group by all
),

stored as (
    select
        i.gpu_uuid,
        i.node,
        i.mig_uuid,
        i.deployment,
        i.replica,
        i.role,
        i.model_served,
        i.labels,
        i.process_started_at,
        i.share,
        i.basis,
        epoch_us(i.first_seen_at) as first_at_us,
        epoch_us(i.last_seen_at) as last_at_us,
        true as is_stored,
        i.valid_from_at
    from fleet.placement_intervals as i
    inner join boundary as b on i.gpu_uuid = b.gpu_uuid and i.node = b.node
    where i.last_seen_at >= b.boundary_at
)

select * from fresh
union all
select * from stored
