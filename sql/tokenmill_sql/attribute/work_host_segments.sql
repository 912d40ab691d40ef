-- One row per stretch of a host counter's time with one known energy: inside a slot, and between two readings.
with ordered as (
    select
        *,
        lag(last_at_us) over series as previous_at_us,
        first_at_us - lag(last_at_us) over series as gap_us,
        first_counter_millijoules - lag(last_counter_millijoules) over series as gap_millijoules,
        abs((first_monotonic_us - lag(last_monotonic_us) over series) - (first_at_us - lag(last_at_us) over series))
        <= 2000000 as is_steady,
        first_run_key = lag(last_run_key) over series as is_same_run
    from work_host_pieces_near
    window series as (partition by series_key order by first_monotonic_us, hour_at, slot)
),

leads as (
    select
        *,
        greatest(first_at_us - lead_us, coalesce(previous_at_us, 0)) as lead_from_us
    from ordered
    where lead_millijoules is not null and coalesce(is_steady and gap_us >= 0, previous_at_us is null)
)

select
    node,
    host_scope,
    host_source,
    host_id,
    first_at_us as from_us,
    last_at_us as to_us,
    counter_increase_millijoules as energy_millijoules,
    counter_known_us as known_us
from ordered
where last_at_us > first_at_us
union all
select
    node,
    host_scope,
    host_source,
    host_id,
    previous_at_us as from_us,
    first_at_us as to_us,
    gap_millijoules as energy_millijoules,
    gap_us as known_us
from ordered
where gap_us > 0 and is_steady and is_same_run and gap_millijoules between 0 and host_energy_millijoules_max(gap_us)
union all
select
    node,
    host_scope,
    host_source,
    host_id,
    lead_from_us as from_us,
    first_at_us as to_us,
    (lead_millijoules::hugeint * (first_at_us - lead_from_us) // lead_us)::bigint as energy_millijoules,
    first_at_us - lead_from_us as known_us
from leads
where first_at_us > lead_from_us
