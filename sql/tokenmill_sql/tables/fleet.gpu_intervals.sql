-- One row per GPU, node and span in which NVML described it alike.
create table if not exists fleet.gpu_intervals (
    gpu_uuid varchar not null,
    node varchar not null,
    valid_from_at timestamp not null,
    first_seen_at timestamp not null,
    last_seen_at timestamp not null,
    gpu_name varchar not null,
    nvml_architecture integer,
    compute_capability varchar,
    pci_device_id varchar,
    pci_subsystem_id varchar,
    memory_total_bytes bigint,
    power_limit_milliwatts bigint,
    is_mig_enabled boolean not null,
    energy_scope varchar not null,
    simulated boolean not null
);
