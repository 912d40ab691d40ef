-- One row per landed slice whose hours were marked: marked and seen in one transaction.
create table if not exists ops.seen_slices (
    slice varchar not null primary key,
    seen_at timestamp not null
);
