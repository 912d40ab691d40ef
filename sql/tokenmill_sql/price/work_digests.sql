-- One row per hour: a digest of each kind of input, whatever the order of its rows, to tell which of them moved.
with telemetry as (
    select
        hour_at,
        row_number_of(u::varchar) as row_hash
    from hourly.unit_use as u
    semi join work_hours using (hour_at)
    union all
    select
        hour_at,
        row_number_of(t::varchar) as row_hash
    from hourly.unit_tokens as t
    semi join work_hours using (hour_at)
),

-- What a charge says, not which delivery said it: the same bill delivered again changes nothing.
bills as (
    select
        hour_at,
        row_number_of(
            concat_ws(
                '|', provider, account, charge_category, line, billing_currency, numerator, numerator_trillionths,
                coalesce(resource_id, ''), coalesce(instance_type, ''), coalesce(region_id, ''),
                coalesce(billed_us, 0), overlap_us
            )
        ) as row_hash
    from work_price_charges
),

references_used as (
    select
        hour_at,
        row_number_of(concat_ws('|', 'reporting', getvariable('reporting_currency'))) as row_hash
    from work_hours
    union
    select
        hour_at,
        row_number_of(concat_ws('|', 'sku', s::varchar)) as row_hash
    from work_price_skus as s
    union
    select
        hour_at,
        row_number_of(concat_ws('|', 'model', m::varchar)) as row_hash
    from work_price_models as m
    union
    select
        hour_at,
        row_number_of(concat_ws('|', 'pue', p::varchar)) as row_hash
    from work_price_pue as p
    union
    select
        hour_at,
        row_number_of(concat_ws('|', 'link', l::varchar)) as row_hash
    from work_price_links as l
    union
    select
        hour_at,
        row_number_of(concat_ws('|', 'type', provider, instance_type, gpu_sku, gpu_count)) as row_hash
    from work_price_levels
    where gpu_count is not null
    union
    select
        hour_at,
        row_number_of(concat_ws('|', 'card', provider, account, gpu_sku, coalesce(rate::varchar, 'none'), currency)) as row_hash
    from work_price_estimates
    union
    select
        r.hour_at,
        row_number_of(concat_ws('|', 'rate', r.currency, coalesce(r.rate::varchar, 'none'))) as row_hash
    from work_price_rates as r
    semi join work_charge_lines as l on r.hour_at = l.hour_at and r.currency = l.billing_currency
),

digests as (
    select
        hour_at,
        'telemetry' as kind,
        row_hash
    from telemetry
    union all
    select
        hour_at,
        'billing' as kind,
        row_hash
    from bills
    union all
    select
        hour_at,
        'reference' as kind,
        row_hash
    from references_used
)

select
    h.hour_at,
    digest_of(count(d.row_hash) filter (d.kind = 'telemetry'), sum(d.row_hash) filter (d.kind = 'telemetry'))
        as telemetry_digest,
    digest_of(count(d.row_hash) filter (d.kind = 'billing'), sum(d.row_hash) filter (d.kind = 'billing'))
        as billing_digest,
    digest_of(count(d.row_hash) filter (d.kind = 'reference'), sum(d.row_hash) filter (d.kind = 'reference'))
        as reference_digest
from work_hours as h
left join digests as d on h.hour_at = d.hour_at
group by h.hour_at
