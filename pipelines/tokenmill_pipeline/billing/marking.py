"""Marks the hours that a changed bill or price makes wrong, so that the next build restates them and no others."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import duckdb

COMMITMENT_DAYS_MIN: Final = 32
"""A charge period longer than a month is a commitment or a subscription, not metered use."""

AHEAD_DAYS_MAX: Final = 3 * 366
"""The longest commitments that are sold; a charge that says it lasts for ever marks no more than this ahead."""


def mark_deliveries(connection: duckdb.DuckDBPyConnection, sources: Mapping[str, str], now: datetime) -> int:
    """Mark the hours of every charge of the deliveries; `sources` maps each delivery to the one that caused the change.

    Hours that have not ended wait on the list until a build may take them. Of a charge period longer than a month whose
    amount to spread is 0, which is what the purchase of a commitment is, only the hours that were built before are
    marked. So are the hours built before in the billing period: an estimate from a rate card gives way there.

    Returns:
        How many hours are on the list that were not on it for these deliveries before.
    """
    if not sources:
        return 0
    connection.execute("create or replace temp table bill_affected (delivery_id varchar, source varchar)")
    connection.executemany("insert into bill_affected values ($1, $2)", [list(pair) for pair in sources.items()])
    connection.execute(
        f"""
        create or replace temp table bill_spans as
        select distinct
            a.source,
            c.charge_period_start_at as from_at,
            least(c.charge_period_end_at, $now + interval {AHEAD_DAYS_MAX} day) as until_at,
            c.charge_period_end_at > c.charge_period_start_at + interval {COMMITMENT_DAYS_MIN} day
                and coalesce(if(d.numerator = 'effective', c.effective_cost, c.billed_cost), 0) = 0
                as is_covered_elsewhere
        from bill_affected as a
        inner join billing.deliveries as d on a.delivery_id = d.delivery_id
        inner join billing.charges as c on a.delivery_id = c.delivery_id
        """,
        {"now": now},
    )
    return _mark(
        connection,
        """
        select
            unnest(
                generate_series(
                    date_trunc('hour', from_at)::timestamp, until_at - interval 1 microsecond, interval 1 hour
                )
            ) as hour_at,
            source
        from bill_spans
        where not is_covered_elsewhere
        union
        select r.hour_at, s.source
        from (select distinct hour_at from hourly.revisions) as r
        inner join bill_spans as s
            on s.is_covered_elsewhere and r.hour_at < s.until_at and r.hour_at + interval 1 hour > s.from_at
        union
        select r.hour_at, a.source
        from (select distinct hour_at from hourly.revisions) as r
        inner join billing.deliveries as d
            on r.hour_at >= d.billing_period_start_at and r.hour_at < d.billing_period_end_at
        inner join bill_affected as a on d.delivery_id = a.delivery_id
        """,
        "billing",
        now,
    )


def mark_reference(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    valid_from: datetime,
    valid_until: datetime | None,
    now: datetime,
) -> int:
    """Mark the hours built before in which a changed price or fact holds: from `valid_from` until before `valid_until`.

    Returns:
        How many hours are on the list that were not on it for this source before.
    """
    connection.execute(
        """
        create or replace temp table bill_reference_span as
        select $source::varchar as source, $from::timestamp as from_at, $until::timestamp as until_at
        """,
        {"source": source, "from": valid_from, "until": valid_until},
    )
    return _mark(
        connection,
        """
        select distinct r.hour_at, s.source
        from hourly.revisions as r
        inner join bill_reference_span as s
            on r.hour_at + interval 1 hour > s.from_at and (s.until_at is null or r.hour_at < s.until_at)
        """,
        "reference",
        now,
    )


def has_built_hours(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether any hour was built: before, no changed fact can make one wrong."""
    return bool(connection.execute("select count(*) from (from hourly.revisions limit 1)").fetchall()[0][0])


def mark_node(connection: duckdb.DuckDBPyConnection, node: str, now: datetime) -> int:
    """Mark the hours of a node about which the configuration now says something else, and return how many are new."""
    connection.execute("create or replace temp table bill_node as select $node::varchar as node", {"node": node})
    return _mark(
        connection,
        """
        select distinct u.hour_at, 'override:' || n.node as source
        from hourly.unit_use as u
        inner join bill_node as n on u.node = n.node
        """,
        "reference",
        now,
    )


def mark_resources(connection: duckdb.DuckDBPyConnection, resources: Sequence[tuple[str, str]], now: datetime) -> int:
    """Mark the hours of the current charges of (provider, resource or reservation) whose links to nodes changed.

    Returns:
        How many hours are on the list that were not on it for these resources before.
    """
    if not resources:
        return 0
    connection.execute("create or replace temp table bill_resources (provider varchar, resource_id varchar)")
    connection.executemany("insert into bill_resources values ($1, $2)", [list(pair) for pair in resources])
    return _mark(
        connection,
        f"""
        with spans as (
            select distinct
                c.charge_period_start_at as from_at,
                least(c.charge_period_end_at, $now::timestamp + interval {AHEAD_DAYS_MAX} day) as until_at,
                'link:' || r.provider || '/' || r.resource_id as source
            from billing.charges as c
            inner join billing.deliveries as d on c.delivery_id = d.delivery_id and d.superseded_at is null
            inner join bill_resources as r
                on c.provider = r.provider and r.resource_id in (c.resource_id, c.capacity_reservation_id)
        )

        select
            unnest(
                generate_series(
                    date_trunc('hour', from_at)::timestamp, until_at - interval 1 microsecond, interval 1 hour
                )
            ) as hour_at,
            source
        from spans
        """,
        "billing",
        now,
    )


def _mark(connection: duckdb.DuckDBPyConnection, hours: str, cause: str, now: datetime) -> int:
    counted = connection.execute(
        f"""
        insert or ignore into ops.dirty_hours by name
        select hour_at, '{cause}' as cause, source, $now::timestamp as marked_at from ({hours})
        """,
        {"now": now},
    ).fetchall()
    return int(counted[0][0])
