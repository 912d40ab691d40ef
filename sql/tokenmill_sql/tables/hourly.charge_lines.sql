-- One row per hour, charge and what it reached: where every dollar of the hour went, and how much of it.
-- It reached a node, a pool of nodes '(pool ...)' that share it, or nothing. Estimates have the delivery '(estimate)'.
create table if not exists hourly.charge_lines (
    hour_at timestamp not null,
    delivery_id varchar not null,
    row_number bigint not null,
    provider varchar not null,
    account varchar not null,
    cluster varchar not null,
    node varchar not null,
    gpu_sku varchar not null,
    line varchar not null check (
        line in (
            'usage', 'unused_commitment', 'unused_capacity', 'overhead', 'credit', 'adjustment', 'unallocated'
        )
    ),
    match_level varchar not null check (match_level in ('resource', 'pool', 'account_sku_region', 'none')),
    spread_basis varchar not null,
    charge_category varchar not null,
    invoice_id varchar not null,
    cost_status varchar not null,
    is_estimate boolean not null,
    numerator varchar not null,
    overlap_us bigint not null,
    billing_currency varchar not null,
    numerator_cost decimal(38, 12),
    list_cost decimal(38, 12),
    reporting_currency varchar not null,
    reporting_cost double,
    reason varchar
);
