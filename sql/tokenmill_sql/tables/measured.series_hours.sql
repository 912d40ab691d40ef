-- One row per counter series and hour with samples: where the nearest edge of a series is, and digests of both edges.
create table if not exists measured.series_hours (
    hour_at timestamp not null,
    series_key bigint not null,
    is_token_series boolean not null,
    first_edge ubigint not null,
    last_edge ubigint not null
);
