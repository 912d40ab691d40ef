-- One row per node and span in which its identity did not change; last_seen_at is extended by each sighting.
create table if not exists fleet.node_intervals (
    node varchar not null,
    valid_from_at timestamp not null,
    first_seen_at timestamp not null,
    last_seen_at timestamp not null,
    provider varchar not null,
    account varchar not null,
    region varchar not null,
    zone varchar not null,
    cluster varchar not null,
    rack varchar not null,
    instance_type varchar not null,
    instance_id varchar not null,
    provider_id varchar not null,
    gpu_count integer not null,
    agent_version varchar not null,
    simulated boolean not null,
    is_confirmed boolean not null
);
