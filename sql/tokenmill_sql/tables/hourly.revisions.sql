-- One row per hour and revision: when it was recorded, why, and which of its inputs moved.
create table if not exists hourly.revisions (
    hour_at timestamp not null,
    revision integer not null,
    hour_state varchar not null check (hour_state in ('open', 'settled', 'final')),
    recorded_at timestamp not null,
    superseded_at timestamp,
    cause varchar not null,
    is_restatement boolean not null,
    telemetry_digest varchar not null,
    billing_digest varchar not null,
    reference_digest varchar not null,
    content_digest varchar not null,
    primary key (hour_at, revision)
);
