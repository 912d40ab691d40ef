"""Publishes the tables that analysts read: a new `analytics.duckdb` beside the old one, swapped in whole by a rename.

A reader that has the old file open keeps it; whoever opens the path afterwards gets the new one. Killed at any moment,
the old file stays as it was. Where the last publication can be carried on, it is copied and its changed hours replaced.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import duckdb

import tokenmill_sql
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline import quality, warehouse
from tokenmill_pipeline.config import PipelineSettings

Kept = Literal["hours", "deliveries", "whole"]

SCHEMAS: Final = ("billing", "fleet", "hourly", "marts", "reference")
"""The schemas that are published, each with all of its tables."""

PUBLICATION: Final = "marts.publication"
"""The table of one row that says what a published file is; the warehouse has none."""

LEFT_OUT: Final[dict[str, tuple[str, ...]]] = {"billing.rejected_rows": ("payload",)}
"""Columns that stay behind: the text of an invoice document is nobody's business but the loader's."""

STORAGE_VERSION: Final = "v1.5.0"
"""The newest format that every supported release of DuckDB reads."""

CHANGED_SHARE_MAX: Final = 0.5
"""Where more of the hours changed than this, writing the file anew costs less than carrying it on."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What was published: the file, how it was made, and how much is in it."""

    path: Path
    published_at: datetime
    made: Literal["whole", "changed_hours"]
    changed_hour_count: int
    hour_count: int
    row_count: int
    size_bytes: int
    seconds: float


def publish(settings: PipelineSettings, *, now: datetime | None = None, full: bool = False) -> PublishReport:
    """Swap in a new publication of the warehouse; call it inside `writer_lock`, with the warehouse closed.

    With `full` the file is written anew, which also gives back the space that replaced hours left behind.

    Raises:
        TokenmillError: there is no warehouse, another process has it open, a table is missing or is not as the
            dictionary says, the copy does not add up to the warehouse, or the disk is full. The old file stays.
    """
    started = time.monotonic()
    moment = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    if not settings.warehouse_path.is_file():
        raise TokenmillError(f"there is no warehouse at {settings.warehouse_path}: run `tokenmill build` first")
    target = settings.published_path
    new = target.with_name(f"{target.name}.new")
    try:
        _remove(new)
        report = _build(settings, new, moment, full=full)
        _swap(new, target)
    except (duckdb.Error, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TokenmillError(
            f"cannot publish {target}: {reason}; the earlier publication stays; free space or memory and publish again"
        ) from error
    finally:
        _remove(new)
    return dataclasses.replace(report, size_bytes=target.stat().st_size, seconds=time.monotonic() - started)


def publish_alone(settings: PipelineSettings, *, now: datetime | None = None, full: bool = False) -> PublishReport:
    """Do what `publish` does as the one writer: for callers that do not hold the lock.

    Raises:
        TokenmillError: as `publish`, or another process is writing.
    """
    with warehouse.writer_lock(settings):
        return publish(settings, now=now, full=full)


@functools.cache
def published() -> dict[str, Kept]:
    """Return every published table and how a copy of the last publication is brought up to date.

    It is done by its changed hours, by the deliveries that it lacks, or as a whole.
    """
    return {
        table.relation: _kept(table)
        for table in tokenmill_sql.tables()
        if table.relation.partition(".")[0] in SCHEMAS and table.relation != PUBLICATION
    }


def definition_digest() -> str:
    """Return a digest of what a publication is made of; another one means that the file is to be written anew."""
    parts = [tokenmill_sql.macros(), repr(sorted(published().items())), repr(sorted(LEFT_OUT.items()))]
    parts += [model.sql for model in (*tokenmill_sql.tables(), *tokenmill_sql.models("marts"))]
    parts += [repr(column) for column in tokenmill_sql.columns().values()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _kept(table: tokenmill_sql.Model) -> Kept:
    if re.search(r"^\s*hour_at\b", table.sql, re.MULTILINE):
        return "hours"
    return "deliveries" if table.relation == "billing.charges" else "whole"


def _build(settings: PipelineSettings, new: Path, now: datetime, *, full: bool) -> PublishReport:
    if not full and settings.published_path.is_file():
        report = _carry_on(settings, new, now)
        if report is not None:
            return report
        _remove(new)
    with _attached(settings, new) as connection:
        with warehouse.transaction(connection):
            for table, kept in published().items():
                order = "order by hour_at" if kept == "hours" else ""
                connection.execute(
                    f"create table analytics.{table} as select {_columns_of(table)} from warehouse.{table} {order}"
                )
            _define(connection)
            _stamp(connection, now)
        if wrong := _differences(connection):
            raise TokenmillError(
                f"the new publication does not add up to the warehouse: {wrong[0]}; nothing was published"
            )
        return _report(connection, settings, now, "whole", changed=-1)


def _carry_on(settings: PipelineSettings, new: Path, now: datetime) -> PublishReport | None:
    """Bring a copy of the last publication up to date, or return None where it is to be written anew."""
    shutil.copyfile(settings.published_path, new)
    try:
        with _attached(settings, new) as connection:
            changed = _changed_hours(connection)
            if changed is None:
                return None
            with warehouse.transaction(connection):
                for table, kept in published().items():
                    _refresh(connection, table, kept)
                _stamp(connection, now)
            if _differences(connection):
                return None
            return _report(connection, settings, now, "changed_hours", changed=changed)
    except duckdb.Error:
        # A damaged or foreign file is no reason not to publish: a new one is written instead.
        return None


@contextlib.contextmanager
def _attached(settings: PipelineSettings, new: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(":memory:", settings)
    try:
        connection.execute(f"attach '{_path(settings.warehouse_path)}' as warehouse (read_only)")
        connection.execute("use warehouse")
        if problems := quality.contract_problems(connection, [*published()]):
            raise TokenmillError(f"the warehouse is not as it should be: {problems[0]}; nothing was published")
        connection.execute(f"attach '{_path(new)}' as analytics (storage_version '{STORAGE_VERSION}')")
        connection.execute("use analytics")
        for schema in SCHEMAS:
            connection.execute(f"create schema if not exists analytics.{schema}")
        yield connection
        connection.execute("checkpoint analytics")
    finally:
        connection.close()


def _changed_hours(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Fill `changed_hours` with what the copy lacks and return how many, or None where it cannot be carried on."""
    known = connection.execute("select change_number, definition_digest from analytics.marts.publication").fetchall()
    if len(known) != 1 or known[0][1] != definition_digest():
        return None
    connection.execute(
        "create or replace temp table changed_hours as "
        "select hour_at from warehouse.ops.changed_hours where change_number > $number",
        {"number": known[0][0]},
    )
    changed, hours = connection.execute(
        "select (select count(*) from temp.changed_hours), (select count(*) from warehouse.ops.changed_hours)"
    ).fetchall()[0]
    return int(changed) if changed <= max(CHANGED_SHARE_MAX * hours, 1) else None


def _refresh(connection: duckdb.DuckDBPyConnection, table: str, kept: Kept) -> None:
    columns = _columns_of(table)
    if kept == "hours":
        bounds = connection.execute("select min(hour_at), max(hour_at) from temp.changed_hours").fetchall()[0]
        if bounds[0] is None:
            return
        # The bounds let whole row groups be passed over: a restated hour costs the same with any history.
        where = (
            "where hour_at between $first::timestamp and $last::timestamp "
            "and hour_at in (select hour_at from temp.changed_hours)"
        )
        limits = {"first": bounds[0], "last": bounds[1]}
        connection.execute(f"delete from analytics.{table} {where}", limits)
        connection.execute(
            f"insert into analytics.{table} by name select {columns} from warehouse.{table} {where}", limits
        )
    elif kept == "deliveries":
        connection.execute(
            f"insert into analytics.{table} by name select {columns} from warehouse.{table} "
            f"where delivery_id not in (select distinct delivery_id from analytics.{table})"
        )
    else:
        connection.execute(f"delete from analytics.{table}")
        connection.execute(f"insert into analytics.{table} by name select {columns} from warehouse.{table}")


def _define(connection: duckdb.DuckDBPyConnection) -> None:
    """Write what is the same in every publication of one definition: macros, views and comments."""
    for statement in tokenmill_sql.statements(tokenmill_sql.macros()):
        connection.execute(statement)
    for model in tokenmill_sql.models("marts"):
        if model.kind == "view":
            warehouse.run_model(connection, model)
    connection.execute(next(table.sql for table in tokenmill_sql.tables() if table.relation == PUBLICATION))
    quality.comment_columns(connection)


def _stamp(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Write the row that says what this publication is."""
    connection.execute("delete from analytics.marts.publication")
    connection.execute(
        "insert into analytics.marts.publication by name "
        "select $now::timestamp as published_at, "
        "(select coalesce(max(change_number), 0) from warehouse.ops.changed_hours) as change_number, "
        "count(distinct hour_at) as hour_count, min(hour_at) as first_hour_at, max(hour_at) as last_hour_at, "
        "$digest as definition_digest from analytics.hourly.revisions",
        {"now": now, "digest": definition_digest()},
    )


def _differences(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return one sentence for each table whose rows or sums are not those of the warehouse."""
    problems = []
    for table in published():
        sums = _sums(connection, table)
        ours = connection.execute(f"select {sums} from analytics.{table}").fetchall()[0]
        theirs = connection.execute(f"select {sums} from warehouse.{table}").fetchall()[0]
        if not all(_close(one, other) for one, other in zip(ours, theirs, strict=True)):
            problems.append(f"{table} has {ours[0]} rows, the warehouse {theirs[0]}, or a sum differs")
    return problems


def _sums(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    schema, _, name = table.partition(".")
    rows = connection.execute(
        "select column_name from duckdb_columns() where database_name = 'analytics' and schema_name = $schema "
        "and table_name = $name and (data_type in ('DOUBLE', 'BIGINT', 'INTEGER') or data_type like 'DECIMAL%')",
        {"schema": schema, "name": name},
    ).fetchall()
    return ", ".join(["count(*)", *(f'sum("{column}")::double' for (column,) in rows)])


def _close(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return bool(abs(one - other) <= 1e-9 * max(abs(one), abs(other)))


def _report(
    connection: duckdb.DuckDBPyConnection,
    settings: PipelineSettings,
    now: datetime,
    made: Literal["whole", "changed_hours"],
    *,
    changed: int,
) -> PublishReport:
    hours = connection.execute("select hour_count from analytics.marts.publication").fetchall()[0][0]
    counts: Sequence[int] = [
        connection.execute(f"select count(*) from analytics.{table}").fetchall()[0][0] for table in published()
    ]
    return PublishReport(
        path=settings.published_path,
        published_at=now,
        made=made,
        changed_hour_count=hours if changed < 0 else changed,
        hour_count=hours,
        row_count=sum(counts),
        size_bytes=0,
        seconds=0,
    )


def _swap(new: Path, target: Path) -> None:
    """Make the new file durable, then let the path mean it; a log that was left behind would belong to no file."""
    log = new.with_name(f"{new.name}.wal")
    if log.exists():
        raise OSError(f"{log} was left behind: the file is not whole")
    _sync(new)
    new.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(new: Path) -> None:
    for path in (new, new.with_name(f"{new.name}.wal")):
        path.unlink(missing_ok=True)


def _columns_of(table: str) -> str:
    left_out = LEFT_OUT.get(table)
    return f"* exclude ({', '.join(left_out)})" if left_out else "*"


def _path(path: Path) -> str:
    return str(path).replace("'", "''")
