"""Makes landed files readable in SQL: temporary views over chosen slices, and empty ones of the right shape."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from tokenmill_pipeline import landing
from tokenmill_pipeline.landing_schema import TABLES

_SQL_TYPES: Final[dict[type[pl.DataType], str]] = {
    pl.String: "varchar",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.Float64: "double",
    pl.Boolean: "boolean",
    pl.Binary: "blob",
}

NEW_TABLES: Final = ("messages", "devices", "placements", "servers", "token_samples")
HOUR_TABLES: Final = ("messages", "gpu_samples", "token_samples", "host_samples")


def view_new(connection: duckdb.DuckDBPyConnection, manifests: Sequence[landing.SliceManifest]) -> None:
    """Make the views `new_<table>` over slices that no build has seen."""
    for table in NEW_TABLES:
        _view(connection, f"new_{table}", table, landing.files_for(manifests, table))


def view_hours(
    connection: duckdb.DuckDBPyConnection,
    manifests: Sequence[landing.SliceManifest],
    hours_us: Collection[int],
) -> None:
    """Make the views `hour_<table>` over every file that may hold a row of the hours (starts, microseconds)."""
    for table in HOUR_TABLES:
        _view(connection, f"hour_{table}", table, landing.files_for(manifests, table, hours_us))


def view_raw(connection: duckdb.DuckDBPyConnection, manifests: Sequence[landing.SliceManifest]) -> None:
    """Make the stored views `raw.<table>` over everything that is landed now."""
    for table in TABLES:
        definition = source(table, landing.files_for(manifests, table))
        connection.execute(f"create or replace view raw.{table} as {definition}")
    connection.execute(
        "create or replace table raw.slices (slice varchar, kind varchar, row_count bigint, hour_count bigint)"
    )
    connection.execute(
        "insert into raw.slices select unnest($names::varchar[]), unnest($kinds::varchar[]), unnest($rows::bigint[]), "
        "unnest($hour_counts::bigint[])",
        {
            "names": [manifest.name for manifest in manifests],
            "kinds": [manifest.kind for manifest in manifests],
            "rows": [manifest.row_count for manifest in manifests],
            "hour_counts": [len(manifest.hours_us) for manifest in manifests],
        },
    )


def _view(connection: duckdb.DuckDBPyConnection, name: str, table: str, files: Iterable[Path]) -> None:
    connection.execute(f"create or replace temp view {name} as {source(table, files)}")


def source(table: str, files: Iterable[Path]) -> str:
    """Return the query that reads a landed table from files, or an empty one of its shape."""
    columns = TABLES[table]
    quoted = ", ".join("'" + str(path.resolve()).replace("'", "''") + "'" for path in files)
    if not quoted:
        empty = ", ".join(f'null::{_SQL_TYPES[type(kind)]} as "{name}"' for name, kind in columns.items())
        return f"select {empty} where false"
    named = ", ".join(f'"{name}"' for name in columns)
    return f"select {named} from read_parquet([{quoted}], union_by_name = true)"
