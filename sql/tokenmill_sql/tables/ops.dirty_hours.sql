-- One row per hour, cause and source that must be built anew; removed in the transaction that builds it.
create table if not exists ops.dirty_hours (
    hour_at timestamp not null,
    cause varchar not null check (cause in ('telemetry', 'edges', 'billing', 'reference')),
    source varchar not null,
    marked_at timestamp not null,
    primary key (hour_at, cause, source)
);
