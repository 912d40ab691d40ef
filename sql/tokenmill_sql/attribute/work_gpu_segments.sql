-- One row per stretch of a GPU's time with one known amount of energy: inside a piece, and between two pieces.
with ordered as (
    select
        *,
        lag(series_key) over gpu as previous_series_key,
        lag(last_run_key) over gpu as previous_run_key,
        lag(last_at_us) over gpu as previous_at_us,
        first_monotonic_us - lag(last_monotonic_us) over gpu as gap_monotonic_us,
        first_counter_millijoules - lag(last_counter_millijoules) over gpu as gap_counter_millijoules,
        first_integrated_millijoules - lag(last_integrated_millijoules) over gpu as gap_integrated_millijoules,
        first_integrated_us - lag(last_integrated_us) over gpu as gap_integrated_us
    from work_gpu_pieces_near
    window gpu as (partition by node, gpu_uuid, boot_id order by first_monotonic_us, series_key)
),

gaps as (
    select
        node,
        gpu_uuid,
        energy_scope,
        previous_at_us as from_us,
        greatest(first_at_us, previous_at_us) as to_us,
        series_key = previous_series_key
        and gap_counter_millijoules between 0 and energy_millijoules_max(power_limit_milliwatts, gap_monotonic_us)
            as is_counter,
        first_run_key = previous_run_key
        and gap_integrated_millijoules >= 0
        and (has_no_gap(gap_monotonic_us, gap_integrated_us) or counter_increase_millijoules is null) as is_integrated,
        gap_counter_millijoules,
        gap_integrated_millijoules,
        least(gap_integrated_us, greatest(first_at_us - previous_at_us, 0)) as gap_integrated_us,
        case
            when series_key <> previous_series_key then 'energy_epoch_changed'
            when gap_counter_millijoules < 0 then 'counter_fell'
            when gap_counter_millijoules is not null then 'implausible_power'
            else 'no_energy_reading'
        end as gap_reason
    from ordered
    where previous_at_us is not null
),

segments as (
    select
        node,
        gpu_uuid,
        energy_scope,
        first_at_us as from_us,
        greatest(last_at_us, first_at_us) as to_us,
        coalesce(counter_increase_millijoules, integrated_increase_millijoules) as energy_millijoules,
        case when counter_increase_millijoules is not null then counter_known_us else integrated_known_us end as known_us,
        case when counter_increase_millijoules is not null then 'counter' else 'integrated' end as energy_method,
        sm_utilization_percent_max,
        -- The driver's counter and the agent's integral see the same board: over a minute they may not part.
        case
            when
                counter_increase_millijoules > 0
                and integrated_known_us between 60000000 and counter_known_us + 1000000
                and integrated_known_us >= 0.99 * counter_known_us
                and abs(integrated_increase_millijoules - counter_increase_millijoules)
                > getvariable('energy_cross_check_share') * counter_increase_millijoules
                then list_append(reasons, 'energy_methods_differ')
            else reasons
        end as reasons
    from ordered
    union all by name
    select
        node,
        gpu_uuid,
        energy_scope,
        from_us,
        to_us,
        case
            when is_counter then gap_counter_millijoules
            when is_integrated then gap_integrated_millijoules
        end as energy_millijoules,
        case
            when is_counter then to_us - from_us
            when is_integrated then gap_integrated_us
            else 0
        end as known_us,
        case
            when is_counter then 'counter'
            when is_integrated then 'integrated'
        end as energy_method,
        null::integer as sm_utilization_percent_max,
        case when coalesce(is_counter, false) or coalesce(is_integrated, false) then [] else [gap_reason] end as reasons
    from gaps
)

select *
from segments
where from_us < getvariable('hours_to_us') and to_us >= getvariable('hours_from_us')
