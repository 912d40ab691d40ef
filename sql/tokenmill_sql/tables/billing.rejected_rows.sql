-- One row per refused billing row: nothing of a bill is dropped in silence.
create table if not exists billing.rejected_rows (
    file_name varchar not null,
    file_digest varchar not null,
    row_number bigint not null,
    reason varchar not null,
    detail varchar not null,
    billed_cost decimal(38, 12),
    effective_cost decimal(38, 12),
    payload varchar not null,
    rejected_at timestamp not null
);
