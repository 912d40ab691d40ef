-- One row per host reading of the hours, with what is known of the time since the reading before it in its slot.
with ordered as (
    select
        *,
        at_us - lag(at_us) over slot as step_us,
        counter_millijoules - lag(counter_millijoules) over slot as step_millijoules,
        -- A clock that stepped between two readings leaves it open how much time passed.
        abs((monotonic_us - lag(monotonic_us) over slot) - (at_us - lag(at_us) over slot)) <= 2000000
        and at_us >= lag(at_us) over slot as is_steady,
        -- The agent counts from its own first reading: another run has begun anew.
        run_key = lag(run_key) over slot as is_same_run
    from work_host_rows
    where is_reading
    window slot as (partition by series_key, slot_number order by monotonic_us)
),

judged as (
    select
        *,
        is_steady
        and is_same_run
        and step_millijoules between 0 and host_energy_millijoules_max(step_us) as is_counted,
        is_steady
        and counter_millijoules is null
        and power_mean_milliwatts <= host_energy_millijoules_max(0) as is_mean
    from ordered
)

select
    *,
    case
        when is_counted then step_millijoules
        when is_mean then round(power_mean_milliwatts * (least(covered_us, step_us) / 1e6))::bigint
    end as known_millijoules,
    case
        when is_counted then step_us
        when is_mean then least(covered_us, step_us)
        else 0
    end as known_us,
    case
        when step_us is null or is_counted or is_mean then null
        when step_millijoules < 0 then 'host_energy_fell'
        when step_millijoules > host_energy_millijoules_max(step_us) then 'implausible_host_power'
        when power_mean_milliwatts > host_energy_millijoules_max(0) then 'implausible_host_power'
        else 'host_energy_epoch_changed'
    end as reason
from judged
