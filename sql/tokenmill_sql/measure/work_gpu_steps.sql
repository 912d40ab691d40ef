-- One row per sample of a suspect epoch and hour, with what happened since the sample before it.
with hours as (
    select
        r.*,
        r.at_us // hour_us() as hour_number,
        bool_or(r.counter_millijoules is not null) over (partition by r.series_key, r.at_us // hour_us()) as has_counter
    from work_gpu_rows as r
    semi join work_gpu_suspects as s
        on r.series_key = s.series_key and r.at_us // hour_us() = s.hour_number
    -- A second copy of a message repeats its samples.
    qualify row_number() over (partition by r.series_key, r.at_us // hour_us(), r.monotonic_us order by r.run_key) = 1
),

ordered as (
    select
        h.* exclude (has_counter),
        s.power_limit_milliwatts,
        h.monotonic_us - lag(h.monotonic_us) over epoch as step_monotonic_us,
        h.at_us - lag(h.at_us) over epoch as step_us,
        h.counter_millijoules - lag(h.counter_millijoules) over epoch as step_counter_millijoules,
        h.integrated_millijoules - lag(h.integrated_millijoules) over epoch as step_integrated_millijoules,
        h.integrated_us - lag(h.integrated_us) over epoch as step_integrated_us,
        h.run_key = lag(h.run_key) over epoch as is_same_run,
        lag(h.slot_number) over epoch is distinct from h.slot_number
        or lag(h.piece) over epoch is distinct from h.piece
        -- A clock that stepped: what lies between may stand in the hour before, also where this one goes on upwards.
        or is_clock_step(h.at_us - lag(h.at_us) over epoch, h.monotonic_us - lag(h.monotonic_us) over epoch) as starts_piece
    from hours as h
    inner join measured.gpu_series as s on h.series_key = s.series_key
    where h.counter_millijoules is not null or not h.has_counter
    window epoch as (partition by h.series_key, h.hour_number order by h.monotonic_us)
)

select
    *,
    sum(starts_piece::integer) over (
        partition by series_key, hour_number order by monotonic_us rows between unbounded preceding and current row
    ) as island,
    case
        when step_counter_millijoules between 0 and energy_millijoules_max(power_limit_milliwatts, step_monotonic_us)
            then step_counter_millijoules
    end as counter_step_millijoules,
    case
        when is_same_run and step_integrated_millijoules >= 0 then step_integrated_millijoules
    end as integrated_step_millijoules,
    case when is_same_run and step_integrated_us >= 0 then step_integrated_us else 0 end as integrated_step_us
from ordered
