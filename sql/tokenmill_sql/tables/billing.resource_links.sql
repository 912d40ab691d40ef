-- One row per billed resource and node from a date on: the shares of one resource sum to 1.
create table if not exists billing.resource_links (
    provider varchar not null,
    resource_id varchar not null,
    node varchar not null,
    valid_from_at timestamp not null,
    share double not null check (share > 0 and share <= 1),
    method varchar not null,
    primary key (provider, resource_id, node, valid_from_at)
);
