-- One row per build: what it did and how long it took.
create table if not exists ops.builds (
    build_id varchar not null primary key,
    started_at timestamp not null,
    finished_at timestamp,
    hours_built integer not null,
    revisions_made integer not null,
    outcome varchar not null,
    detail varchar
);
