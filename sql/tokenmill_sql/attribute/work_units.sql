-- One row per unit and hour with a server: what serves it, and how many GPUs hold one copy of its weights.
select
    hour_at,
    cluster,
    deployment,
    replica,
    max(expected_gpu_count) as expected_gpu_count,
    arg_max(model_served, slot) as model_served,
    arg_max(engine, slot) as engine,
    arg_max(engine_version, slot) as engine_version,
    arg_max(precision, slot) as precision,
    arg_max(speculative, slot) as speculative,
    arg_max(labels, slot) as labels,
    arg_max(role, slot) as role
from work_server_slots
where vantage = 'engine'
group by all
