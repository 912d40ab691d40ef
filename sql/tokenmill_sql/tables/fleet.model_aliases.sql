-- One row per cluster, deployment pattern, served name and date: the canonical model; '*' matches anything.
create table if not exists fleet.model_aliases (
    cluster varchar not null,
    deployment_pattern varchar not null,
    model_served varchar not null,
    valid_from_at timestamp not null,
    model varchar not null,
    primary key (cluster, deployment_pattern, model_served, valid_from_at)
);
