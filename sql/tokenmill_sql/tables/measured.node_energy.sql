-- One row per hour, five-minute slot and node with host readings: the node's energy, and from what it was found.
create table if not exists measured.node_energy (
    hour_at timestamp not null,
    slot tinyint not null,
    node varchar not null,
    node_energy_millijoules bigint,
    gpu_energy_millijoules bigint not null,
    node_energy_method varchar not null,
    host_source varchar not null,
    reasons varchar[]
);
