"""Prices hours: from attributed use, bills and reference tables to the fact, its revisions and the marts."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import duckdb

from tokenmill_pipeline import quality, revisions, warehouse
from tokenmill_pipeline.config import BuildSettings
from tokenmill_pipeline.dirty import HOUR
from tokenmill_pipeline.quality import Finding
from tokenmill_pipeline.reference_data import utc
from tokenmill_pipeline.revisions import Revision


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceReport:
    """What pricing did: the hours it looked at, the revisions that it made, and what its checks found.

    `withheld` names, by hour and provider, what failed a closure: there the earlier figures stay.
    """

    hours: tuple[datetime, ...]
    revisions: tuple[Revision, ...]
    state_changes: tuple[datetime, ...]
    withheld: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def price_hours(
    connection: duckdb.DuckDBPyConnection,
    hours: Sequence[datetime],
    *,
    now: datetime,
    build: BuildSettings,
    hints: Mapping[datetime, Collection[str]] | None = None,
) -> PriceReport:
    """Price hours anew and write what changed: charge lines, revisions of the fact, states, marts.

    Call it in a transaction: nothing is committed here. It replaces `work_hours` and the other temporary tables.
    `hints` are the causes for which an hour was marked (telemetry, billing, reference); they only tell a changed
    reference from one that came along with new telemetry or a new bill.

    Raises:
        duckdb.Error: a model does not run; the transaction is then to be rolled back.
    """
    moment = utc(now)
    reports = [_price_batch(connection, batch, moment, build, hints or {}) for batch in _batches(hours, build)]
    return PriceReport(
        hours=tuple(hour for report in reports for hour in report.hours),
        revisions=tuple(made for report in reports for made in report.revisions),
        state_changes=tuple(hour for report in reports for hour in report.state_changes),
        withheld=tuple(finding for report in reports for finding in report.withheld),
        warnings=tuple(finding for report in reports for finding in report.warnings),
    )


def advance_states(
    connection: duckdb.DuckDBPyConnection, *, now: datetime, build: BuildSettings
) -> tuple[datetime, ...]:
    """Settle and close the hours that time alone has settled or closed, without pricing them; return them.

    Call it in a transaction, after `price_hours`.
    """
    moment = utc(now)
    span = revisions.take_waiting_hours(connection, now=moment)
    if span is None:
        return ()
    _set_limits(connection, *span, moment, build)
    revisions.run_coverage(connection)
    changed = revisions.refresh_states(connection)
    if changed:
        connection.execute(
            "update marts.hourly_economics set hour_state = s.hour_state from work_hour_states as s "
            "where hourly_economics.hour_at = s.hour_at and hourly_economics.hour_state <> s.hour_state"
        )
        _note_changed(connection, changed)
    return tuple(changed)


def _price_batch(
    connection: duckdb.DuckDBPyConnection,
    hours: Sequence[datetime],
    now: datetime,
    build: BuildSettings,
    hints: Mapping[datetime, Collection[str]],
) -> PriceReport:
    warehouse.set_hours(connection, hours)
    _set_limits(connection, hours[0], hours[-1], now, build)
    _set_hints(connection, hours, hints)
    warehouse.run_stage(connection, "price")
    findings = quality.run_checks(connection)
    warehouse.run_stage(connection, "revise")
    made = revisions.write(connection, now=now)
    revisions.write_lines(connection)
    revisions.write_withheld(connection, now=now)
    changed = revisions.refresh_states(connection)
    warehouse.run_stage(connection, "marts")
    _note_changed(connection, hours)
    new = {revision.hour_at for revision in made}
    return PriceReport(
        hours=tuple(hours),
        revisions=made,
        state_changes=tuple(hour for hour in changed if hour not in new),
        withheld=tuple(finding for finding in findings if finding.severity == "fail"),
        warnings=tuple(finding for finding in findings if finding.severity == "warn"),
    )


def _set_limits(
    connection: duckdb.DuckDBPyConnection, first: datetime, last: datetime, now: datetime, build: BuildSettings
) -> None:
    warehouse.set_variables(
        connection,
        {
            "batch_from": first,
            "batch_until": last + HOUR,
            "price_now": now,
            "reporting_currency": build.reporting_currency,
            "close_after_days": build.close_after_days,
        },
    )


def _batches(hours: Sequence[datetime], build: BuildSettings) -> Iterator[list[datetime]]:
    """Yield hours in order, in batches that neither are long nor span more than twice their length.

    Charges are read from a batch's first hour to its last, so far-apart hours do not belong into one.
    """
    batch: list[datetime] = []
    for hour in sorted({utc(hour) for hour in hours}):
        too_wide = batch and hour - batch[0] >= 2 * build.hours_per_batch * HOUR
        if len(batch) >= build.hours_per_batch or too_wide:
            yield batch
            batch = []
        batch.append(hour)
    if batch:
        yield batch


def _set_hints(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[datetime], hints: Mapping[datetime, Collection[str]]
) -> None:
    connection.execute("create or replace temp table work_hints (hour_at timestamp, causes varchar[])")
    rows = [[hour, sorted(hints[hour])] for hour in hours if hour in hints]
    if rows:
        connection.executemany("insert into work_hints values ($1, $2)", rows)


def _note_changed(connection: duckdb.DuckDBPyConnection, hours: Sequence[datetime]) -> None:
    connection.execute(
        "insert or replace into ops.changed_hours "
        "select unnest($hours), (select coalesce(max(change_number), 0) + 1 from ops.changed_hours)",
        {"hours": list(hours)},
    )
