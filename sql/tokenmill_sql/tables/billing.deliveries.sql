-- One row per provider, account, dataset and billing period of one loaded file; a replacing one supersedes the earlier.
create table if not exists billing.deliveries (
    delivery_id varchar not null primary key,
    provider varchar not null,
    account varchar not null,
    dataset varchar not null,
    billing_period_start_at timestamp not null,
    billing_period_end_at timestamp not null,
    delivery_mode varchar not null check (delivery_mode in ('append', 'replace')),
    file_name varchar not null,
    file_digest varchar not null,
    focus_version varchar not null,
    data_until_at timestamp,
    is_closed boolean not null,
    numerator varchar not null check (numerator in ('effective', 'billed')),
    numerator_reason varchar,
    row_count bigint not null,
    rejected_row_count bigint not null,
    loaded_at timestamp not null,
    superseded_at timestamp,
    superseded_by varchar
);
