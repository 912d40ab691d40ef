-- One row per GPU, holder and unbroken run of sightings; an empty GPU has a holder '(none)' with basis 'empty'.
create table if not exists fleet.placement_intervals (
    gpu_uuid varchar not null,
    node varchar not null,
    mig_uuid varchar not null,
    deployment varchar not null,
    replica varchar not null,
    role varchar not null,
    model_served varchar not null,
    labels varchar not null,
    process_started_at timestamp,
    share double not null check (share >= 0 and share <= 1),
    basis varchar not null,
    valid_from_at timestamp not null,
    first_seen_at timestamp not null,
    last_seen_at timestamp not null
);
