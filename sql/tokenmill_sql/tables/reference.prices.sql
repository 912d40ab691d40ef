-- One row per kind of price, scope and date: rate card, tariff, PUE, exchange rate; each with its source.
create table if not exists reference.prices (
    kind varchar not null check (kind in ('rate_card', 'tariff', 'pue', 'exchange_rate')),
    scope varchar not null,
    valid_from_at timestamp not null,
    provider varchar,
    account varchar,
    gpu_sku varchar,
    instance_type varchar,
    region varchar,
    site varchar,
    currency varchar,
    to_currency varchar,
    amount double not null,
    unit varchar not null,
    source varchar not null,
    loaded_at timestamp not null,
    primary key (kind, scope, valid_from_at)
);
