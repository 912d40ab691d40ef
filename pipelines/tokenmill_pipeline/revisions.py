"""Writes what an hour's figures have become as its next revision, and keeps every earlier one.

A revision replaces the whole set of an hour and exists only where the content changed. What an hour's state is (open,
settled, final) also changes with the mere passing of time: that is written into the present revision, not as a new one.
"""

import dataclasses
from datetime import datetime, timedelta
from typing import Final

import duckdb

import tokenmill_sql
from tokenmill_pipeline import warehouse

HOUR: Final = timedelta(hours=1)
WAITED_FOR: Final = timedelta(days=400)
"""An hour that is older and not final by now is no longer looked at on every build."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision that was made: the hour, its number, why it exists and whether the hour was final before."""

    hour_at: datetime
    revision: int
    cause: str
    is_restatement: bool


def write(connection: duckdb.DuckDBPyConnection, *, now: datetime) -> tuple[Revision, ...]:
    """Write the batch in `work_revision_rows` as revisions where it differs from the present ones; return them."""
    made = connection.execute(
        "select hour_at, revision, cause, is_restatement from work_revisions order by hour_at"
    ).fetchall()
    if made:
        connection.execute(
            "update hourly.revisions set superseded_at = $now "
            "where superseded_at is null and hour_at in (select hour_at from work_revisions)",
            {"now": now},
        )
        connection.execute(
            "insert into hourly.revisions by name "
            "select *, 'open' as hour_state, $now::timestamp as recorded_at, null::timestamp as superseded_at "
            "from work_revisions",
            {"now": now},
        )
        connection.execute(
            "insert into hourly.unit_economics by name "
            "select r.*, w.revision from work_revision_rows as r inner join work_revisions as w using (hour_at) "
            "order by r.hour_at, r.gpu_generation, r.model, r.deployment, r.replica"
        )
    return tuple(
        Revision(hour_at=hour, revision=number, cause=cause, is_restatement=restated)
        for hour, number, cause, restated in made
    )


def write_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Replace the charge lines of the batch; a provider whose closures failed keeps the ones it had."""
    connection.execute(
        "delete from hourly.charge_lines as l "
        "where l.hour_at >= getvariable('batch_from') and l.hour_at < getvariable('batch_until') "
        "and l.hour_at in (select hour_at from work_hours) "
        "and (l.hour_at, l.provider) not in (select (hour_at, provider) from work_withheld)"
    )
    connection.execute(
        "insert into hourly.charge_lines by name "
        "select * exclude (is_pool, reporting_trillionths, rung, destination) from work_charge_lines "
        "anti join work_withheld using (hour_at, provider)"
    )


def write_withheld(connection: duckdb.DuckDBPyConnection, *, now: datetime) -> None:
    """Note the hours and providers that were withheld, and that those noted before are well again."""
    connection.execute(
        "update hourly.withheld set resolved_at = $now where resolved_at is null "
        "and hour_at in (select hour_at from work_hours) "
        "and (hour_at, provider, check_name) not in (select (hour_at, provider, check_name) from work_withheld)",
        {"now": now},
    )
    connection.execute(
        "insert into hourly.withheld by name "
        "select hour_at, provider, check_name, min(detail) as detail, $now::timestamp as withheld_at, "
        "null::timestamp as resolved_at from work_withheld as w "
        "where (hour_at, provider, check_name) not in "
        "(select (hour_at, provider, check_name) from hourly.withheld where resolved_at is null) group by all",
        {"now": now},
    )


def refresh_states(connection: duckdb.DuckDBPyConnection) -> list[datetime]:
    """Write into the present revisions of the batch what state they are in now; return the hours that changed."""
    warehouse.run_stage(connection, "states")
    changed = connection.execute(
        "select r.hour_at from hourly.revisions as r inner join work_hour_states as s on r.hour_at = s.hour_at "
        "where r.superseded_at is null and r.hour_state <> s.hour_state order by r.hour_at"
    ).fetchall()
    if changed:
        connection.execute(
            "update hourly.revisions set hour_state = s.hour_state from work_hour_states as s "
            "where revisions.hour_at = s.hour_at and revisions.superseded_at is null "
            "and revisions.hour_state <> s.hour_state"
        )
    return [row[0] for row in changed]


def take_waiting_hours(connection: duckdb.DuckDBPyConnection, *, now: datetime) -> tuple[datetime, datetime] | None:
    """Make the batch of the hours that are not final; return its first and last hour, or None where there is none."""
    connection.execute(
        "create or replace temp table work_hours as select hour_at from hourly.revisions "
        "where superseded_at is null and hour_state <> 'final' and hour_at >= $oldest",
        {"oldest": now - WAITED_FOR},
    )
    first, last = connection.execute("select min(hour_at), max(hour_at) from work_hours").fetchall()[0]
    return None if first is None else (first, last)


def run_coverage(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the one model of pricing that the states read."""
    model = next(model for model in tokenmill_sql.models("price") if model.relation == "work_price_coverage")
    warehouse.run_model(connection, model)
