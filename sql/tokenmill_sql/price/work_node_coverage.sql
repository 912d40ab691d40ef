-- One row per hour and node: what was seen of it. What is known of its messages stays when they are gone.
with cells as (
    select
        hour_at,
        node,
        min(provider) as provider,
        min(account) as account,
        min(cluster) as cluster,
        list_sort(list_distinct(list(gpu_sku))) as gpu_skus,
        sum(gpu_time_us) / 1e6 as gpu_seconds_paid,
        coalesce(sum(gpu_time_us) filter (bucket = 'serving'), 0) / 1e6 as gpu_seconds_allocated,
        coalesce(sum(gpu_time_us) filter (bucket = 'idle'), 0) / 1e6 as gpu_seconds_idle,
        coalesce(sum(gpu_time_us) filter (bucket = 'unattributed'), 0) / 1e6 as gpu_seconds_unattributed,
        coalesce(sum(gpu_time_us) filter (bucket = 'unobserved'), 0) / 1e6 as gpu_seconds_unobserved,
        sum(token_known_gpu_time_us) / 1e6 as token_known_seconds,
        sum(energy_known_gpu_time_us) / 1e6 as energy_known_seconds,
        sum(gpu_energy_millijoules) as gpu_energy_millijoules,
        sum(gpu_energy_interpolated_millijoules) as interpolated_millijoules,
        bool_or(simulated) as simulated,
        flatten(list(reasons)) as reasons
    from work_price_cells
    group by hour_at, node
),

messages as (
    select
        hour_at,
        node,
        sum(message_count)::bigint as message_count,
        sum(missing_message_count)::bigint as missing_message_count,
        sum(duplicate_message_count)::bigint as duplicate_message_count,
        sum(run_count)::bigint as run_count,
        arg_max(clock_offset_us, message_count) as clock_offset_us,
        arg_max(clock_basis, message_count) as clock_basis
    from measured.node_hours
    semi join work_hours using (hour_at)
    group by hour_at, node
),

earlier as (
    select *
    from marts.telemetry_coverage
    semi join work_hours using (hour_at)
    where hour_at >= getvariable('batch_from') and hour_at < getvariable('batch_until')
)

select
    c.hour_at,
    c.node,
    c.provider,
    c.account,
    c.cluster,
    coalesce(n.region, '(unknown)') as region,
    coalesce(n.instance_type, '(unknown)') as instance_type,
    c.gpu_skus,
    c.gpu_seconds_paid,
    c.gpu_seconds_allocated,
    c.gpu_seconds_idle,
    c.gpu_seconds_unattributed,
    c.gpu_seconds_unobserved,
    ratio(c.gpu_seconds_paid - c.gpu_seconds_unobserved, c.gpu_seconds_paid) as observed_share,
    ratio(c.token_known_seconds, c.gpu_seconds_allocated) as token_coverage,
    ratio(c.energy_known_seconds, c.gpu_seconds_paid) as energy_coverage,
    ratio(c.interpolated_millijoules, c.gpu_energy_millijoules) as energy_interpolated_share,
    coalesce(m.message_count, e.message_count) as message_count,
    coalesce(m.missing_message_count, e.missing_message_count) as missing_message_count,
    coalesce(m.duplicate_message_count, e.duplicate_message_count) as duplicate_message_count,
    coalesce(m.run_count, e.run_count) as run_count,
    coalesce(m.clock_offset_us, e.clock_offset_us) as clock_offset_us,
    coalesce(m.clock_basis, e.clock_basis) as clock_basis,
    c.simulated,
    reasons_of(
        list_append(
            c.reasons, case when coalesce(m.missing_message_count, e.missing_message_count) > 0 then 'messages_missing' end
        )
    ) as reasons
from cells as c
left join work_price_nodes as n on c.hour_at = n.hour_at and c.provider = n.provider and c.node = n.node
left join messages as m on c.hour_at = m.hour_at and c.node = m.node
left join earlier as e on c.hour_at = e.hour_at and c.node = e.node
