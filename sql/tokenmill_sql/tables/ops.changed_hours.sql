-- One row per hour whose tables changed, with a number that rises, so that a publication knows what it lacks.
create table if not exists ops.changed_hours (
    hour_at timestamp not null primary key,
    change_number bigint not null
);
