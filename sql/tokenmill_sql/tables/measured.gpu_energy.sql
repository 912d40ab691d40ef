-- One row per hour, five-minute slot, counter epoch and piece: a piece is a slot cut where the GPU changed hands.
-- Increases are those between the piece's own samples; the edges let the next step stitch pieces together.
create table if not exists measured.gpu_energy (
    hour_at timestamp not null,
    slot tinyint not null,
    piece smallint not null,
    series_key bigint not null,
    sample_count bigint not null,
    first_at_us bigint not null,
    last_at_us bigint not null,
    first_monotonic_us bigint not null,
    last_monotonic_us bigint not null,
    first_run_key bigint not null,
    last_run_key bigint not null,
    first_counter_millijoules bigint,
    last_counter_millijoules bigint,
    first_integrated_millijoules bigint,
    last_integrated_millijoules bigint,
    first_integrated_us bigint,
    last_integrated_us bigint,
    counter_increase_millijoules bigint,
    counter_known_us bigint not null,
    integrated_increase_millijoules bigint,
    integrated_known_us bigint not null,
    fall_count bigint not null,
    sm_utilization_percent_max integer,
    reasons varchar[]
);
