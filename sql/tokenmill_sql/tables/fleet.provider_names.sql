-- One row per name by which a provider is called, in lower case: the one name that it has here.
create table if not exists fleet.provider_names (
    name_folded varchar not null primary key,
    provider varchar not null
);
