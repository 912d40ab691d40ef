-- One row per piece of the hours, and of the nearest hour on either side in which its epoch has samples, in order.
with near as (
    select
        series_key,
        max(hour_at) filter (hour_at < make_timestamp(getvariable('hours_from_us'))) as before_at,
        min(hour_at) filter (hour_at >= make_timestamp(getvariable('hours_to_us'))) as after_at
    from measured.series_hours
    where not is_token_series
    group by series_key
),

wanted as (
    select series_key, before_at as hour_at from near where before_at is not null
    union all
    select series_key, after_at as hour_at from near where after_at is not null
    union all
    select distinct h.series_key, h.hour_at
    from measured.series_hours as h
    where not h.is_token_series and h.hour_at in (select hour_at from work_hours)
),

pieces as (
    select
        e.*,
        s.node,
        s.gpu_uuid,
        s.boot_id,
        s.energy_scope,
        s.power_limit_milliwatts
    from measured.gpu_energy as e
    inner join wanted as w on e.series_key = w.series_key and e.hour_at = w.hour_at
    inner join measured.gpu_series as s on e.series_key = s.series_key
)

select *
from pieces
-- Two agents on one node see one counter twice: a piece inside the time of another epoch of its GPU is the second sight.
qualify coalesce(
    first_monotonic_us >= max(last_monotonic_us) over (
        partition by node, gpu_uuid, boot_id
        order by first_monotonic_us, series_key
        rows between unbounded preceding and 1 preceding
    )
    or series_key = lag(series_key) over (
        partition by node, gpu_uuid, boot_id order by first_monotonic_us, series_key
    ),
    true
)
