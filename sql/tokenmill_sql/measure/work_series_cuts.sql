-- One row per GPU epoch and hour in which its GPU changed hands, with the sorted moments of change.
select
    s.series_key,
    epoch_us(c.hour_at) // hour_us() as hour_number,
    c.cuts
from work_cuts as c
inner join measured.gpu_series as s on c.gpu_uuid = s.gpu_uuid and c.node = s.node
