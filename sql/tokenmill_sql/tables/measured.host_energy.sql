-- One row per hour, five-minute slot and host counter: the increase between its own samples, and its edges.
-- A mean power over a time stands as that energy; what the first reading covers lies before the first edge.
create table if not exists measured.host_energy (
    hour_at timestamp not null,
    slot tinyint not null,
    series_key bigint not null,
    node varchar not null,
    boot_id varchar not null,
    host_scope varchar not null,
    host_source varchar not null,
    host_id varchar not null,
    sample_count bigint not null,
    first_at_us bigint not null,
    last_at_us bigint not null,
    first_monotonic_us bigint not null,
    last_monotonic_us bigint not null,
    first_run_key bigint not null,
    last_run_key bigint not null,
    first_counter_millijoules bigint,
    last_counter_millijoules bigint,
    lead_millijoules bigint,
    lead_us bigint,
    counter_increase_millijoules bigint not null,
    counter_known_us bigint not null,
    reasons varchar[]
);
