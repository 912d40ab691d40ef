-- One row per device of a new message: a sighting of a GPU on a node.
select
    d.gpu_uuid,
    d.node,
    m.first_at_us,
    m.last_at_us,
    coalesce(d.name, '(unknown)') as gpu_name,
    d.architecture as nvml_architecture,
    d.compute_capability,
    d.pci_device_id,
    d.pci_subsystem_id,
    d.memory_total_bytes,
    d.power_limit_milliwatts,
    d.mig_enabled as is_mig_enabled,
    d.energy_scope,
    d.simulated
from new_devices as d
inner join work_messages as m
    on d.node = m.node and d.run_id = m.run_id and d.sequence = m.sequence and m.kind = 'gpu-power'
