-- One row per node, boot and hour with messages: what arrived, what the sequences say was lost, the clock.
create table if not exists measured.node_hours (
    hour_at timestamp not null,
    node varchar not null,
    boot_id varchar not null,
    message_count bigint not null,
    missing_message_count bigint not null,
    duplicate_message_count bigint not null,
    run_count bigint not null,
    clock_offset_us bigint not null,
    clock_basis varchar not null,
    primary key (hour_at, node, boot_id)
);
