-- One row per provider, instance type or SKU and date: what a billed node without an agent holds.
create table if not exists fleet.instance_types (
    provider varchar not null,
    instance_type varchar not null,
    valid_from_at timestamp not null,
    gpu_sku varchar not null,
    gpu_count integer not null,
    source varchar not null,
    primary key (provider, instance_type, valid_from_at)
);
