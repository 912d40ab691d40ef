-- One row per epoch and hour whose pieces must be taken sample by sample: a counter that fell, failed or jumped, no counter
-- at all, a clock that stepped: a piece's wall time and its monotonic time then pass at different rates, also where pieces
-- interleave, for then one spans the other.
-- A second run of the agent is no reason: the counter is the driver's, and goes on.
with judged as (
    select
        p.*,
        p.last_counter_millijoules - p.first_counter_millijoules as increase_millijoules,
        p.last_monotonic_us - p.first_monotonic_us as span_us,
        s.power_limit_milliwatts
    from work_gpu_pieces as p
    inner join measured.gpu_series as s on p.series_key = s.series_key
)

select distinct
    series_key,
    slot_number // 12 as hour_number
from judged
where
    counter_count <> sample_count
    or first_counter_millijoules <> least_counter_millijoules
    or last_counter_millijoules <> greatest_counter_millijoules
    or is_clock_step(last_at_us - first_at_us, span_us)
    or increase_millijoules > energy_millijoules_max(power_limit_milliwatts, span_us)
