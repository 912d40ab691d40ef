-- One row per hour, provider and account that a node names: the account that is billed for it.
with named as (
    select distinct
        hour_at,
        provider,
        account
    from hourly.unit_use
    semi join work_hours using (hour_at)
    union
    select distinct
        hour_at,
        provider,
        account
    from hourly.unit_tokens
    semi join work_hours using (hour_at)
),

billed as (
    select distinct
        hour_at,
        provider,
        account
    from work_price_charges
    union
    select
        hour_at,
        provider,
        account
    from work_price_coverage
    where covered_us > 0
),

-- A cloud's node names the account it runs in; the bill names the one that pays.
payers as (
    select
        hour_at,
        provider,
        sub_account as account,
        min(account) as payer
    from work_price_charges
    where sub_account is not null
    group by all
),

-- A bill that names a node's own machine is the one that pays for it, whatever the node calls its account.
linked as (
    select
        u.hour_at,
        u.provider,
        u.account,
        min(c.account) as payer
    from hourly.unit_use as u
    semi join work_hours as h on u.hour_at = h.hour_at
    inner join work_price_links as k on u.hour_at = k.hour_at and u.provider = k.provider and u.node = k.node
    inner join work_price_charges as c
        on k.hour_at = c.hour_at and k.provider = c.provider and k.resource_id = c.resource_id
    group by all
),

only_ones as (
    select
        hour_at,
        provider,
        min(account) as payer
    from billed
    group by all
    having count(*) = 1
)

select
    n.hour_at,
    n.provider,
    n.account,
    case
        when b.account is not null then n.account
        when p.payer is not null then p.payer
        when l.payer is not null then l.payer
        when n.account in ('(none)', '(unknown)') then coalesce(o.payer, n.account)
        else n.account
    end as billed_account
from named as n
left join billed as b using (hour_at, provider, account)
left join payers as p using (hour_at, provider, account)
left join linked as l using (hour_at, provider, account)
left join only_ones as o using (hour_at, provider)
