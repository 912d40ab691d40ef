-- One row per epoch of one GPU's counter: what the integer series_key stands for.
create table if not exists measured.gpu_series (
    series_key bigint not null primary key,
    node varchar not null,
    gpu_uuid varchar not null,
    boot_id varchar not null,
    driver_version varchar not null,
    nvml_generation bigint not null,
    energy_scope varchar not null,
    power_limit_milliwatts bigint,
    simulated boolean not null
);
