-- One row per hour of the batch whose content is not that of its present revision: the next one, and why it exists.
with present as (
    select *
    from hourly.revisions
    where
        superseded_at is null
        and hour_at >= getvariable('batch_from')
        and hour_at < getvariable('batch_until')
),

closed as (
    select
        hour_at,
        bool_or(is_closed) as is_closed
    from work_price_coverage
    group by hour_at
),

compared as (
    select
        n.hour_at,
        p.revision,
        p.hour_state,
        n.row_count,
        n.content_digest,
        d.telemetry_digest,
        d.billing_digest,
        d.reference_digest,
        p.revision is null as is_first,
        coalesce(c.is_closed, false) as is_closed,
        p.telemetry_digest <> d.telemetry_digest as telemetry_moved,
        p.billing_digest <> d.billing_digest as billing_moved,
        starts_with(p.billing_digest, '0-') as had_no_bill,
        p.reference_digest <> d.reference_digest as reference_moved,
        list_contains(coalesce(k.causes, []), 'reference') as reference_marked,
        p.content_digest as present_digest
    from work_revision_digests as n
    inner join work_digests as d on n.hour_at = d.hour_at
    left join present as p on n.hour_at = p.hour_at
    left join closed as c on n.hour_at = c.hour_at
    left join work_hints as k on n.hour_at = k.hour_at
)

select
    hour_at,
    coalesce(revision, 0) + 1 as revision,
    case
        when is_first then 'first_build'
        when telemetry_moved or billing_moved or reference_moved
            then
                array_to_string(
                    list_filter(
                        [
                            case when telemetry_moved then 'late_telemetry' end,
                            case
                                when billing_moved and had_no_bill then 'bill_arrived'
                                when billing_moved then 'corrected_bill'
                            end,
                            -- New telemetry or a new bill brings its own products and currencies with it.
                            case
                                when reference_moved and (reference_marked or not (telemetry_moved or billing_moved))
                                    then 'changed_reference'
                            end
                        ],
                        lambda cause: cause is not null
                    ),
                    '+'
                )
        when is_closed then 'closed'
        else 'changed_rules'
    end as cause,
    coalesce(hour_state = 'final', false) as is_restatement,
    telemetry_digest,
    billing_digest,
    reference_digest,
    content_digest
from compared
where case when is_first then row_count > 0 else present_digest <> content_digest end
