-- One row per server of a new message: a sighting of one process life of an inference server.
select
    s.server_id,
    s.node,
    m.first_at_us,
    m.last_at_us,
    coalesce(m.cluster, '(none)') as cluster,
    coalesce(s.deployment, '(none)') as deployment,
    coalesce(s.replica, '(none)') as replica,
    s.role,
    coalesce(s.role_basis, '(none)') as role_basis,
    s.vantage,
    s.engine,
    coalesce(s.engine_version, '(unknown)') as engine_version,
    coalesce(s.model_served, '(unknown)') as model_served,
    coalesce(s.model_root, '(unknown)') as model_root,
    coalesce(s.precision, '(unknown)') as precision,
    coalesce(s.precision_basis, '(none)') as precision_basis,
    s.tensor_parallel,
    s.pipeline_parallel,
    s.data_parallel,
    s.expert_parallel,
    s.expected_gpu_count,
    coalesce(s.speculative, '(none)') as speculative,
    s.input_includes_cached,
    s.counts_at,
    s.address,
    coalesce(s.labels, '{}') as labels,
    make_timestamp(s.process_started_at_us) as process_started_at,
    m.simulated
from new_servers as s
inner join work_messages as m
    on s.node = m.node and s.run_id = m.run_id and s.sequence = m.sequence and m.kind = 'token-counters'
