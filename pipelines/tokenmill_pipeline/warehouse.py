"""Opens the warehouse for its one writer and runs the SQL models in it."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

import duckdb

import tokenmill_sql
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.config import PipelineSettings

SCHEMAS: Final = ("raw", "fleet", "billing", "reference", "measured", "hourly", "marts", "ops")


@contextlib.contextmanager
def writer_lock(settings: PipelineSettings) -> Iterator[None]:
    """Hold the lock that makes this process the one writer; the kernel frees it however the process ends.

    Raises:
        TokenmillError: another process kept it for longer than `lock_wait_seconds`, or the directory cannot be written.
    """
    deadline = time.monotonic() + settings.lock_wait_seconds
    with _lock_file(settings) as handle:
        while not _try_lock(handle.fileno()):
            if time.monotonic() >= deadline:
                holder = settings.lock_path.read_text(encoding="utf-8").strip() or "unknown"
                raise TokenmillError(
                    f"{settings.lock_path} is held by process {holder}: another build or billing load is running; "
                    f"waited {settings.lock_wait_seconds:g} s, try again when it is done"
                )
            time.sleep(0.05)
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _lock_file(settings: PipelineSettings) -> TextIO:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        return settings.lock_path.open("a+", encoding="utf-8")
    except OSError as error:
        raise TokenmillError(
            f"cannot write in {settings.data_dir}: {error.strerror}; mend its rights or name another --data-dir"
        ) from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


@contextlib.contextmanager
def open_warehouse(settings: PipelineSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a writing connection with every schema, table and macro in place; call it inside `writer_lock`.

    Raises:
        TokenmillError: the file cannot be opened: another process has it open, it is damaged or the disk is full.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    connection = connect(settings.warehouse_path, settings)
    try:
        prepare(connection)
        yield connection
    finally:
        connection.close()


def connect(path: Path | str, settings: PipelineSettings, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Return a connection in UTC with bounded memory that never reaches for the network.

    Raises:
        TokenmillError: the file cannot be opened.
    """
    config: dict[str, Any] = {
        "memory_limit": f"{settings.memory_limit_megabytes}MB",
        "threads": settings.threads,
        "temp_directory": str(settings.data_dir / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        connection = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as error:
        raise TokenmillError(
            f"cannot open {path}: {str(error).splitlines()[0]}; close what has it open, or restore it from a copy"
        ) from error
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the schemas, the stored tables and the macros where they are missing."""
    for schema in SCHEMAS:
        connection.execute(f"create schema if not exists {schema}")
    for statement in tokenmill_sql.statements(tokenmill_sql.macros()):
        connection.execute(statement)
    for table in tokenmill_sql.tables():
        connection.execute(table.sql)


def set_variables(connection: duckdb.DuckDBPyConnection, values: Mapping[str, Any]) -> None:
    """Set the variables that models read with `getvariable('name')`."""
    for name, value in values.items():
        connection.execute(f"set variable {name} = $value", {"value": value})


def set_hours(connection: duckdb.DuckDBPyConnection, hours: Sequence[datetime]) -> None:
    """Fill the temporary table `work_hours(hour_at)` that every hourly model is limited to."""
    connection.execute("create or replace temp table work_hours (hour_at timestamp primary key)")
    connection.execute("insert into work_hours select unnest($hours::timestamp[])", {"hours": list(hours)})


def run_stage(connection: duckdb.DuckDBPyConnection, stage: str) -> None:
    """Run the models of a stage in order, each after those that it reads."""
    for model in tokenmill_sql.models(stage):
        try:
            run_model(connection, model)
        except duckdb.Error as error:
            error.add_note(f"in {stage}/{model.relation}.sql")
            raise


def run_model(connection: duckdb.DuckDBPyConnection, model: tokenmill_sql.Model) -> None:
    """Run one model as its kind says; a table loses the rows of the hours in `work_hours` and gets the new ones."""
    if model.kind == "temporary":
        connection.execute(f"create or replace temp table {model.relation} as {model.sql}")
    elif model.kind == "view":
        lifetime = "" if "." in model.relation else "temp "
        connection.execute(f"create or replace {lifetime}view {model.relation} as {model.sql}")
    else:
        connection.execute(f"delete from {model.relation} where hour_at in (select hour_at from work_hours)")
        connection.execute(f"insert into {model.relation} by name {model.sql}")


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block did, or nothing of it."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
