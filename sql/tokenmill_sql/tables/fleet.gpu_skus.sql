-- One row per GPU product and date from which its facts hold: how to recognise it and what its maker and planners state.
create table if not exists fleet.gpu_skus (
    gpu_sku varchar not null,
    valid_from_at timestamp not null,
    name_pattern varchar not null,
    pci_device_ids varchar[],
    gpu_generation varchar not null,
    generation_order integer not null,
    fp4_dense_flop_per_second double,
    fp8_dense_flop_per_second double,
    bf16_dense_flop_per_second double,
    flop_source varchar,
    provisioned_watts double,
    provisioned_source varchar,
    source varchar not null,
    primary key (gpu_sku, valid_from_at)
);
