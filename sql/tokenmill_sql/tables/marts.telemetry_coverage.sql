-- One row per hour and node: what was seen of it, what was missing and why.
-- Machines that the bill knows and nobody saw have rows too.
create table if not exists marts.telemetry_coverage (
    hour_at timestamp not null,
    node varchar not null,
    provider varchar not null,
    account varchar not null,
    cluster varchar not null,
    region varchar not null,
    instance_type varchar not null,
    gpu_skus varchar[] not null,
    gpu_seconds_paid double not null,
    gpu_seconds_allocated double not null,
    gpu_seconds_idle double not null,
    gpu_seconds_unattributed double not null,
    gpu_seconds_unobserved double not null,
    observed_share double,
    token_coverage double,
    energy_coverage double,
    energy_interpolated_share double,
    message_count bigint,
    missing_message_count bigint,
    duplicate_message_count bigint,
    run_count bigint,
    clock_offset_us bigint,
    clock_basis varchar,
    simulated boolean not null,
    reasons varchar[] not null
);
