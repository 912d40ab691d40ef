-- One row per node and field that the configuration says and the node does not: it wins over what was seen.
create table if not exists fleet.overrides (
    node varchar not null,
    field varchar not null,
    field_value varchar not null,
    primary key (node, field)
);
