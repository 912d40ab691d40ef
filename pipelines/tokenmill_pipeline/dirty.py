"""Keeps the list of hours that must be built anew, and why."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

import duckdb

HOUR = timedelta(hours=1)


def mark(
    connection: duckdb.DuckDBPyConnection, hours: Collection[datetime], cause: str, source: str, now: datetime
) -> None:
    """Note that hours must be built anew; one that is noted already for that cause and source stays as it is."""
    connection.execute(
        "insert or ignore into ops.dirty_hours by name select unnest($hours::timestamp[]) as hour_at, "
        "$cause::varchar as cause, $source::varchar as source, $now::timestamp as marked_at",
        {"hours": sorted(set(hours)), "cause": cause, "source": source, "now": now},
    )


def hours_marked(connection: duckdb.DuckDBPyConnection, causes: Iterable[str], until: datetime) -> list[datetime]:
    """Return the dirty hours of any of the causes that begin before `until`, in order."""
    rows = connection.execute(
        "select distinct hour_at from ops.dirty_hours where cause in (select unnest($causes)) and hour_at < $until "
        "order by hour_at",
        {"causes": list(causes), "until": until},
    ).fetchall()
    return [row[0] for row in rows]


def causes(connection: duckdb.DuckDBPyConnection, hours: Sequence[datetime]) -> dict[datetime, list[str]]:
    """Return why each of the hours is on the list."""
    rows = connection.execute(
        "select hour_at, list(distinct cause order by cause) from ops.dirty_hours "
        "where hour_at in (select unnest($hours)) group by hour_at",
        {"hours": list(hours)},
    ).fetchall()
    return dict(rows)


def clear(connection: duckdb.DuckDBPyConnection, hours: Sequence[datetime], causes: Iterable[str]) -> None:
    """Take hours off the list; call it in the transaction that built them."""
    connection.execute(
        "delete from ops.dirty_hours where hour_at in (select unnest($hours)) and cause in (select unnest($causes))",
        {"hours": list(hours), "causes": list(causes)},
    )


def runs(hours: Sequence[datetime], longest: int) -> list[list[datetime]]:
    """Return sorted hours as unbroken runs of at most `longest` each."""
    found: list[list[datetime]] = []
    for hour in hours:
        if found and hour - found[-1][-1] == HOUR and len(found[-1]) < longest:
            found[-1].append(hour)
        else:
            found.append([hour])
    return found
