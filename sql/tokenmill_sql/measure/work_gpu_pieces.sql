-- One row per epoch, slot and piece: what an aggregate without an order can say, several times cheaper than a window.
-- Only the counter is read at its first and last sample, for it alone may fall; the agent's integral never does in a run,
-- and a clock that stepped shows in its span.
select
    series_key,
    slot_number,
    piece,
    count(*) as sample_count,
    count(counter_millijoules) as counter_count,
    min(monotonic_us) as first_monotonic_us,
    max(monotonic_us) as last_monotonic_us,
    min(at_us) as first_at_us,
    max(at_us) as last_at_us,
    min(run_key) as least_run_key,
    max(run_key) as greatest_run_key,
    arg_min(counter_millijoules, monotonic_us) as first_counter_millijoules,
    arg_max(counter_millijoules, monotonic_us) as last_counter_millijoules,
    min(counter_millijoules) as least_counter_millijoules,
    max(counter_millijoules) as greatest_counter_millijoules,
    min(integrated_millijoules) as first_integrated_millijoules,
    max(integrated_millijoules) as last_integrated_millijoules,
    min(integrated_us) as first_integrated_us,
    max(integrated_us) as last_integrated_us,
    max(sm_utilization_percent) as sm_utilization_percent_max
from work_gpu_rows
group by series_key, slot_number, piece
