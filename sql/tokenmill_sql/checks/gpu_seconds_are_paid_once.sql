-- fail: GPU-seconds paid are those seen, by bucket, and those billed and not seen
with sides as (
    select
        hour_at,
        provider,
        bucket,
        gpu_time_us / 1e6 as seen,
        0 as paid
    from hourly.unit_use
    semi join work_hours using (hour_at)
    union all
    select
        hour_at,
        provider,
        'unobserved' as bucket,
        gpu_time_us / 1e6 as seen,
        0 as paid
    from work_price_unobserved
    union all
    select
        hour_at,
        provider,
        bucket,
        0 as seen,
        gpu_seconds_paid as paid
    from work_economics
)

select
    hour_at,
    provider,
    format('{}: {} GPU-seconds are known, the fact holds {}', bucket, sum(seen), sum(paid)) as detail
from sides
group by hour_at, provider, bucket
having abs(sum(seen) - sum(paid)) > 1e-9 * sum(seen)
