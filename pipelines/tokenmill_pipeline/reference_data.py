"""The reference data that ships with the product, kept in the warehouse beside what the user's own files say.

`reference/*.toml` holds GPU products, instance types and provider names, each with its source. What ships is marked
so (`shipped: ...`) and gives way to a row of the user's with the same key. A fact that changes marks the hours it
holds in.
"""

import dataclasses
import functools
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from tokenmill_pipeline.billing import marking
from tokenmill_pipeline.config import FleetSettings

ROOT: Final = Path(__file__).parent / "reference"
SHIPPED: Final = "shipped: "
SHIPPED_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""From when on shipped facts hold that have no date of their own: before any GPU here was sold."""

PETA: Final = 1e15
PRECISIONS: Final = ("fp4", "fp8", "bf16")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A table of facts with a date: its key, of which `valid_from_at` is the last part, and the columns that say it."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    has_source: bool = True
    has_loaded_at: bool = False


GPU_SKUS: Final = Facts(
    table="fleet.gpu_skus",
    key=("gpu_sku", "valid_from_at"),
    columns=(
        "gpu_sku",
        "valid_from_at",
        "name_pattern",
        "pci_device_ids",
        "gpu_generation",
        "generation_order",
        "fp4_dense_flop_per_second",
        "fp8_dense_flop_per_second",
        "bf16_dense_flop_per_second",
        "flop_source",
        "provisioned_watts",
        "provisioned_source",
        "source",
    ),
)
INSTANCE_TYPES: Final = Facts(
    table="fleet.instance_types",
    key=("provider", "instance_type", "valid_from_at"),
    columns=("provider", "instance_type", "valid_from_at", "gpu_sku", "gpu_count", "source"),
)
MODEL_ALIASES: Final = Facts(
    table="fleet.model_aliases",
    key=("cluster", "deployment_pattern", "model_served", "valid_from_at"),
    columns=("cluster", "deployment_pattern", "model_served", "valid_from_at", "model"),
    has_source=False,
)


def load_reference(
    connection: duckdb.DuckDBPyConnection, fleet: FleetSettings, provider_names: Mapping[str, str], now: datetime
) -> dict[str, int]:
    """Bring the shipped facts, the provider names and the configured overrides into the warehouse.

    Returns:
        How many rows of each table changed; the tables that stayed as they were are left out.
    """
    moment = utc(now)
    changed = {
        GPU_SKUS.table: put(connection, GPU_SKUS, shipped_gpu_skus(), moment, shipped=True),
        INSTANCE_TYPES.table: put(connection, INSTANCE_TYPES, shipped_instance_types(), moment, shipped=True),
        "fleet.provider_names": _put_provider_names(connection, provider_names),
        "fleet.overrides": _put_overrides(connection, fleet, moment),
    }
    return {table: count for table, count in changed.items() if count}


def put(
    connection: duckdb.DuckDBPyConnection,
    facts: Facts,
    rows: Iterable[Mapping[str, Any]],
    now: datetime,
    *,
    shipped: bool = False,
) -> int:
    """Insert or replace rows and mark the hours in which a changed one holds; equal rows change nothing.

    Shipped rows never replace the user's, and those that ship no longer are removed.

    Returns:
        How many rows changed.
    """
    stored = {_key(facts, row): row for row in _fetch(connection, facts)}
    wanted = {_key(facts, row): {name: row.get(name) for name in facts.columns} for row in rows}
    is_ours = {key: not facts.has_source or str(row["source"]).startswith(SHIPPED) for key, row in stored.items()}
    changed = [
        key for key, row in wanted.items() if stored.get(key) != row and not (shipped and not is_ours.get(key, True))
    ]
    gone = [key for key in stored if shipped and is_ours[key] and key not in wanted]
    for key in (*changed, *gone):
        if key in stored:
            remove(connection, facts, dict(zip(facts.key, key, strict=True)))
    if changed:
        stamp = {"loaded_at": now} if facts.has_loaded_at else {}
        _insert(connection, facts.table, [{**wanted[key], **stamp} for key in changed])
    if marking.has_built_hours(connection):
        for key in (*changed, *gone):
            mark(connection, facts, dict(zip(facts.key, key, strict=True)), now)
    return len(changed) + len(gone)


def remove(connection: duckdb.DuckDBPyConnection, facts: Facts, key: Mapping[str, Any]) -> bool:
    """Remove the row with this key and return whether there was one."""
    condition = " and ".join(f"{name} = ${name}" for name in facts.key)
    count = connection.execute(f"delete from {facts.table} where {condition}", dict(key)).fetchall()[0][0]
    return bool(count)


def mark(connection: duckdb.DuckDBPyConnection, facts: Facts, key: Mapping[str, Any], now: datetime) -> int:
    """Mark the hours in which the fact with this key holds: until the next one of the same thing."""
    same = " and ".join(f"{name} = ${name}" for name in facts.key[:-1])
    until = connection.execute(
        f"select min(valid_from_at) from {facts.table} where {same} and valid_from_at > $valid_from_at", dict(key)
    ).fetchall()[0][0]
    source = f"{facts.table}:{'/'.join(str(key[name]) for name in facts.key[:-1])}"
    return marking.mark_reference(connection, source, key["valid_from_at"], until, now)


@functools.cache
def shipped_gpu_skus() -> tuple[dict[str, Any], ...]:
    """Return the shipped rows of `fleet.gpu_skus`: one per product and date at which its planned power changed."""
    tables = _tables("gpu_skus.toml")
    sources, order = tables["sources"], tables["generations"]
    return tuple(
        row for entry in tables["gpu_sku"] for row in _dated_rows(entry, sources, order[entry["gpu_generation"]])
    )


@functools.cache
def shipped_instance_types() -> tuple[dict[str, Any], ...]:
    """Return the shipped rows of `fleet.instance_types`."""
    tables = _tables("instance_types.toml")
    return tuple(
        {
            "provider": provider,
            "instance_type": instance_type,
            "valid_from_at": utc(SHIPPED_FROM),
            "gpu_sku": gpu_sku,
            "gpu_count": gpu_count,
            "source": SHIPPED + tables["sources"][provider],
        }
        for provider, types in tables.items()
        if provider != "sources"
        for instance_type, (gpu_sku, gpu_count) in types.items()
    )


@functools.cache
def published_rates() -> dict[str, tuple[float, float]]:
    """Return the lowest and highest published USD per GPU-hour of each GPU product that has one."""
    return {
        entry["gpu_sku"]: (float(entry["per_gpu_hour"][0]), float(entry["per_gpu_hour"][1]))
        for entry in _tables("gpu_skus.toml")["gpu_sku"]
        if "per_gpu_hour" in entry
    }


def canonical_provider(name: str, configured: Mapping[str, str] | None = None) -> str:
    """Return what a provider is called everywhere here; a name that is in no list stays as it is written."""
    stripped = name.strip()
    return _folded_names(configured or {}).get(stripped.casefold(), stripped)


def utc(moment: date) -> datetime:
    """Return a date or time as UTC without a zone, as the warehouse keeps it; a date is its midnight."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _dated_rows(entry: Mapping[str, Any], sources: Mapping[str, str], order: int) -> list[dict[str, Any]]:
    base: dict[str, Any] = {
        "gpu_sku": entry["gpu_sku"],
        "name_pattern": entry["name_pattern"],
        "pci_device_ids": entry.get("pci_device_ids", []),
        "gpu_generation": entry["gpu_generation"],
        "generation_order": order,
        "flop_source": sources[entry["flop_source"]] if "flop_source" in entry else None,
        "source": SHIPPED + sources["names"],
    }
    for precision in PRECISIONS:
        petaflop = entry.get(f"{precision}_dense_petaflop_per_second")
        base[f"{precision}_dense_flop_per_second"] = None if petaflop is None else petaflop * PETA
    powers = {utc(item["valid_from"]): item for item in entry.get("provisioned", ())}
    # Before its planned power is stated the product is known all the same.
    dates = sorted({utc(SHIPPED_FROM), *powers})
    return [
        {
            **base,
            "valid_from_at": at,
            "provisioned_watts": float(powers[at]["watts"]) if at in powers else None,
            "provisioned_source": sources[powers[at]["source"]] if at in powers else None,
        }
        for at in dates
    ]


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    # One parameter for all rows: each parameter costs a third of a millisecond, and shipped facts are a thousand.
    types = {row[0]: row[1] for row in connection.execute(f"describe {table}").fetchall() if row[0] in rows[0]}
    shape = {name: [kind.removesuffix("[]")] if kind.endswith("[]") else kind for name, kind in types.items()}
    connection.execute(
        f"insert into {table} by name select unnest(json_transform($rows, '{json.dumps([shape])}'), max_depth := 2)",
        {"rows": json.dumps(list(rows), default=str)},
    )


def _put_provider_names(connection: duckdb.DuckDBPyConnection, configured: Mapping[str, str]) -> int:
    wanted = _folded_names(configured)
    stored = dict(connection.execute("select name_folded, provider from fleet.provider_names").fetchall())
    if stored == wanted:
        return 0
    connection.execute("delete from fleet.provider_names")
    rows = [{"name_folded": name, "provider": provider} for name, provider in wanted.items()]
    _insert(connection, "fleet.provider_names", rows)
    return len(set(wanted.items()) ^ set(stored.items()))


def _put_overrides(connection: duckdb.DuckDBPyConnection, fleet: FleetSettings, now: datetime) -> int:
    wanted = {(item.node, item.field): item.value for item in fleet.overrides}
    stored = {
        (node, field): value
        for node, field, value in connection.execute("select node, field, field_value from fleet.overrides").fetchall()
    }
    changed = {key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key)}
    if not changed:
        return 0
    connection.execute("delete from fleet.overrides")
    if wanted:
        connection.executemany(
            "insert into fleet.overrides values ($1, $2, $3)", [[*key, value] for key, value in sorted(wanted.items())]
        )
    for node in sorted({node for node, _ in changed}):
        marking.mark_node(connection, node, now)
    return len(changed)


@functools.cache
def _shipped_names() -> dict[str, str]:
    return {
        name.casefold(): provider
        for provider, names in _tables("providers.toml").items()
        for name in (provider, *names)
    }


def _folded_names(configured: Mapping[str, str]) -> dict[str, str]:
    return {**_shipped_names(), **{name.strip().casefold(): provider for name, provider in configured.items()}}


@functools.cache
def _tables(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def _fetch(connection: duckdb.DuckDBPyConnection, facts: Facts) -> list[dict[str, Any]]:
    rows = connection.execute(f"select {', '.join(facts.columns)} from {facts.table}").fetchall()
    return [dict(zip(facts.columns, row, strict=True)) for row in rows]


def _key(facts: Facts, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in facts.key)
