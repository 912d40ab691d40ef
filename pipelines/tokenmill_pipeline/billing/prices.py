"""Stores the entries of a price file: what is there stays, what is new or other restates the hours it holds in."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline import reference_data, warehouse
from tokenmill_pipeline.billing import currencies, marking, price_file
from tokenmill_pipeline.billing.price_file import PriceFile, ResourceLink, read
from tokenmill_pipeline.reference_data import Facts, canonical_provider, utc

CONFIGURED: Final = "configured"
"""The method of a link that a price file states; found links have others and give way to it."""

_PRICES: Final = Facts(
    table="reference.prices",
    key=("kind", "scope", "valid_from_at"),
    columns=(
        "kind",
        "scope",
        "valid_from_at",
        "provider",
        "account",
        "gpu_sku",
        "instance_type",
        "region",
        "site",
        "currency",
        "to_currency",
        "amount",
        "unit",
        "source",
    ),
    has_loaded_at=True,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a price file changed: rows by table, hours newly marked, and remarks for a person."""

    changed: dict[str, int]
    hours_marked: int
    notes: tuple[str, ...]


def store(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    entries: PriceFile,
    provider_names: Mapping[str, str],
    *,
    now: datetime,
) -> Outcome:
    """Store the entries in one transaction; the same entries again change nothing.

    Raises:
        UsageError: a name pattern is none that DuckDB reads.
    """
    _check_patterns(connection, path, entries)
    moment = utc(now)
    with warehouse.transaction(connection):
        before = _marks(connection)
        changed = {
            "reference.prices": _put_prices(connection, entries, provider_names, moment),
            "fleet.gpu_skus": reference_data.put(connection, reference_data.GPU_SKUS, _dated(entries.gpu_sku), moment),
            "fleet.instance_types": reference_data.put(
                connection, reference_data.INSTANCE_TYPES, _named(entries.instance_type, provider_names), moment
            ),
            "fleet.model_aliases": reference_data.put(
                connection, reference_data.MODEL_ALIASES, _dated(entries.model_alias), moment
            ),
            "billing.resource_links": _put_links(connection, entries.resource_link, provider_names, moment),
        }
        marked = _marks(connection) - before
    notes = [*price_file.unchecked(entries)]
    changed = {table: count for table, count in changed.items() if count}
    if not changed:
        notes.append(f"every entry of {path.name} is there already: nothing to do")
    return Outcome(changed=changed, hours_marked=marked, notes=tuple(notes))


def _marks(connection: duckdb.DuckDBPyConnection) -> int:
    return int(connection.execute("select count(*) from ops.dirty_hours").fetchall()[0][0])


def _check_patterns(connection: duckdb.DuckDBPyConnection, path: Path, entries: PriceFile) -> None:
    for index, sku in enumerate(entries.gpu_sku):
        try:
            connection.execute("select regexp_matches('', $pattern, 'i')", {"pattern": sku.name_pattern}).fetchall()
        except duckdb.Error as error:
            raise UsageError(
                f"{path}: gpu_sku[{index}] name_pattern {sku.name_pattern!r} cannot be read: "
                f"{str(error).splitlines()[0]}"
            ) from error


def _put_prices(
    connection: duckdb.DuckDBPyConnection, entries: PriceFile, provider_names: Mapping[str, str], now: datetime
) -> int:
    rows = [
        *(_price("rate_card", card, card.per_gpu_hour, "GPU-hour", provider_names) for card in entries.rate_card),
        *(_price("tariff", tariff, tariff.per_kilowatt_hour, "kWh", provider_names) for tariff in entries.tariff),
        *(_price("pue", pue, pue.pue, "", provider_names) for pue in entries.pue),
        *(_price("exchange_rate", rate, rate.rate, "", provider_names) for rate in entries.exchange_rate),
    ]
    withdrawn = 0
    for row in rows:
        if row["withdrawn"]:
            key = {name: row[name] for name in _PRICES.key}
            withdrawn += reference_data.remove(connection, _PRICES, key)
            reference_data.mark(connection, _PRICES, key, now)
    kept = [row for row in rows if not row["withdrawn"]]
    changed = reference_data.put(connection, _PRICES, kept, now)
    return changed + withdrawn


def _price(kind: str, entry: Any, amount: float, unit: str, provider_names: Mapping[str, str]) -> dict[str, Any]:
    """Return an entry as a row of `reference.prices`; its scope says what it is for, with '*' for anything."""
    fields = price_file.as_row(entry)
    if fields.get("provider") is not None:
        fields["provider"] = canonical_provider(fields["provider"], provider_names)
    currency = fields.get("from_currency") or fields.get("currency")
    to_currency = fields.get("to_currency")
    row = {
        **fields,
        "kind": kind,
        "valid_from_at": utc(entry.valid_from),
        "currency": currency and _code(currency),
        "to_currency": to_currency and _code(to_currency),
        "amount": float(amount),
    }
    if kind == "exchange_rate":
        row["scope"] = f"{row['currency']}/{row['to_currency']}"
        row["unit"] = f"{row['to_currency']}/{row['currency']}"
    else:
        names = ("provider", "account", "region", "site", "instance_type", "gpu_sku")
        row["scope"] = "/".join(fields[name] or "*" for name in names if name in fields)
        row["unit"] = f"{row['currency']}/{unit}" if unit else "1"
    return row


def _code(currency: str) -> str:
    # A virtual currency is written as its provider writes it.
    return currency.upper() if currencies.is_currency(currency) else currency


def _dated(entries: Iterable[price_file.Entry]) -> list[dict[str, Any]]:
    rows = []
    for entry in entries:
        row = {**price_file.as_row(entry), "valid_from_at": utc(entry.valid_from)}
        if "pci_device_ids" in row:
            row["pci_device_ids"] = list(row["pci_device_ids"])
        rows.append(row)
    return rows


def _named(entries: Iterable[price_file.Entry], provider_names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{**row, "provider": canonical_provider(row["provider"], provider_names)} for row in _dated(entries)]


def _put_links(
    connection: duckdb.DuckDBPyConnection,
    links: Iterable[ResourceLink],
    provider_names: Mapping[str, str],
    now: datetime,
) -> int:
    """Store configured links; the parts of a resource from one date are one set, and found links of it give way."""
    sets: dict[tuple[str, str, datetime], dict[str, float]] = {}
    for link in links:
        key = (canonical_provider(link.provider, provider_names), link.resource_id, utc(link.valid_from))
        sets.setdefault(key, {})[link.node] = link.share
    changed = []
    for (provider, resource_id, valid_from_at), shares in sets.items():
        parameters = {"provider": provider, "resource_id": resource_id, "valid_from_at": valid_from_at}
        stored = connection.execute(
            "select node, share from billing.resource_links where provider = $provider and resource_id = $resource_id "
            f"and valid_from_at = $valid_from_at and method = '{CONFIGURED}'",
            parameters,
        ).fetchall()
        if dict(stored) == shares:
            continue
        connection.execute(
            "delete from billing.resource_links where provider = $provider and resource_id = $resource_id "
            f"and (valid_from_at = $valid_from_at or method <> '{CONFIGURED}')",
            parameters,
        )
        connection.executemany(
            "insert into billing.resource_links values ($1, $2, $3, $4, $5, $6)",
            [[provider, resource_id, node, valid_from_at, share, CONFIGURED] for node, share in shares.items()],
        )
        changed.append((provider, resource_id))
    marking.mark_resources(connection, changed, now)
    return len(changed)


__all__ = ["CONFIGURED", "Outcome", "PriceFile", "read", "store"]
