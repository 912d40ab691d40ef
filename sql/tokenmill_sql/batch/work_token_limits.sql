-- One row per counter series: more tokens a second than this is no reading, and whether its process start is known.
select
    t.series_key,
    getvariable('tokens_per_second_per_gpu_max') * coalesce(max(i.expected_gpu_count), 8) as tokens_per_second_max,
    bool_or(i.process_started_at is not null) as is_start_known
from measured.token_series as t
left join fleet.server_intervals as i on t.server_id = i.server_id and t.node = i.node
group by t.series_key
