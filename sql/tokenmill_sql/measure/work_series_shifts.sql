-- One row per GPU epoch and hour of the node's own clock whose times must be moved.
select
    s.series_key,
    o.hour_at,
    o.offset_us
from work_offsets as o
inner join measured.gpu_series as s on o.node = s.node and o.boot_id = s.boot_id
