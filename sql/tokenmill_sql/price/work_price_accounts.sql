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
        when n.account in ('(none)', '(unknown)') then coalesce(o.payer, n.account)
        else n.account
    end as billed_account
from named as n
left join billed as b using (hour_at, provider, account)
left join payers as p using (hour_at, provider, account)
left join only_ones as o using (hour_at, provider)
