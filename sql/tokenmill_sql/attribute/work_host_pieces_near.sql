-- One row per piece of a host counter in the hours, and in the nearest hour with samples on either side.
with keys as (
    select series_key, hour_at
    from measured.series_hours
    where not is_token_series
),

near as (
    select
        series_key,
        max(hour_at) filter (hour_at < make_timestamp(getvariable('hours_from_us'))) as before_at,
        min(hour_at) filter (hour_at >= make_timestamp(getvariable('hours_to_us'))) as after_at
    from keys
    group by series_key
),

wanted as (
    select series_key, before_at as hour_at from near where before_at is not null
    union all
    select series_key, after_at as hour_at from near where after_at is not null
    union all
    select k.series_key, k.hour_at
    from keys as k
    where
        k.hour_at >= make_timestamp(getvariable('hours_from_us'))
        and k.hour_at < make_timestamp(getvariable('hours_to_us'))
)

select e.*
from measured.host_energy as e
inner join wanted as w on e.series_key = w.series_key and e.hour_at = w.hour_at
where e.sample_count > 0
