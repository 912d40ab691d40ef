-- One row per counter series of one server: what the integer series_key stands for.
create table if not exists measured.token_series (
    series_key bigint not null primary key,
    node varchar not null,
    boot_id varchar not null,
    server_id varchar not null,
    rank integer not null
);
