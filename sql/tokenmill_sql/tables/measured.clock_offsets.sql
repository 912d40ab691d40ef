-- One row per node, boot and hour of the node's own clock with messages: by how much that clock was seen to be off.
create table if not exists measured.clock_offsets (
    hour_at timestamp not null,
    node varchar not null,
    boot_id varchar not null,
    live_offset_us bigint,
    is_driven boolean not null,
    primary key (hour_at, node, boot_id)
);
