-- One row: when this file was published, and up to which change and hour it holds.
create table if not exists marts.publication (
    published_at timestamp not null,
    change_number bigint not null,
    hour_count bigint not null,
    first_hour_at timestamp,
    last_hour_at timestamp,
    definition_digest varchar not null
);
