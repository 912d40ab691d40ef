"""Keeps deliveries: which bill is current, what it replaced, and what makes loading the same file twice harmless.

A file becomes one delivery per provider, account and billing period. An appended delivery adds to the earlier ones of
its key; a replacing load supersedes every current delivery of a key in it that is not part of the load itself.
"""

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import duckdb

import tokenmill_sql
from tokenmill_pipeline.billing.focus import DATASET
from tokenmill_pipeline.billing.options import Mode
from tokenmill_pipeline.billing.source import BillFile

Status = Literal["loaded", "unchanged", "updated"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One row of `billing.deliveries` and what a load did with it. Times are UTC without a zone."""

    delivery_id: str
    provider: str
    account: str
    dataset: str
    billing_period_start_at: datetime
    billing_period_end_at: datetime
    delivery_mode: str
    file_name: str
    file_digest: str
    focus_version: str
    data_until_at: datetime | None
    is_closed: bool
    numerator: str
    numerator_reason: str | None
    row_count: int
    rejected_row_count: int
    loaded_at: datetime
    superseded_at: datetime | None = None
    superseded_by: str | None = None
    status: Status = "loaded"


_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(Delivery) if field.name != "status")


def with_digest(connection: duckdb.DuckDBPyConnection, digest: str) -> list[Delivery]:
    """Return every delivery, current or superseded, that a file with this content has become."""
    return _fetch(connection, "file_digest = $digest", {"digest": digest})


def with_ids(connection: duckdb.DuckDBPyConnection, delivery_ids: Collection[str]) -> list[Delivery]:
    """Return the deliveries with these ids, by period, provider and account."""
    return _fetch(connection, "delivery_id in (select unnest($ids::varchar[]))", {"ids": list(delivery_ids)})


def currencies_of(connection: duckdb.DuckDBPyConnection, delivery_ids: Collection[str]) -> set[str]:
    """Return the billing currencies of the charges of these deliveries."""
    rows = connection.execute(
        "select distinct billing_currency from billing.charges where delivery_id in (select unnest($ids::varchar[]))",
        {"ids": list(delivery_ids)},
    ).fetchall()
    return {row[0] for row in rows}


def insert(
    connection: duckdb.DuckDBPyConnection,
    files: Mapping[int, BillFile],
    refused: Mapping[int, int],
    *,
    mode: Mode,
    data_until_at: datetime | None,
    is_closed: bool,
    now: datetime,
) -> list[Delivery]:
    """Turn the accepted rows of `bill_charges` into deliveries and charges, and return the deliveries.

    `files`, and `refused`, how many rows of each were refused, are by the index of the file in `bill_charges`.
    """
    made = []
    connection.execute(
        "create or replace temp table bill_ids (file_index integer, provider varchar, account varchar, "
        "billing_period_start_at timestamp, billing_period_end_at timestamp, delivery_id varchar)"
    )
    for key in _keys(connection, refused, now):
        bill = files[key["file_index"]]
        delivery = Delivery(
            delivery_id=_new_id(connection, bill, key),
            provider=key["provider"],
            account=key["account"],
            dataset=DATASET,
            billing_period_start_at=key["billing_period_start_at"],
            billing_period_end_at=key["billing_period_end_at"],
            delivery_mode=mode,
            file_name=bill.name,
            file_digest=bill.digest,
            focus_version=bill.shape.version,
            data_until_at=data_until_at or key["data_until_at"],
            is_closed=is_closed,
            numerator="effective" if key["numerator_reason"] is None else "billed",
            numerator_reason=key["numerator_reason"],
            row_count=key["row_count"],
            rejected_row_count=key["rejected_row_count"],
            loaded_at=now,
        )
        names = ("file_index", "provider", "account", "billing_period_start_at", "billing_period_end_at")
        connection.execute(
            "insert into bill_ids values ($1, $2, $3, $4, $5, $6)",
            [*(key[name] for name in names), delivery.delivery_id],
        )
        _store(connection, delivery)
        made.append(delivery)
    connection.execute(
        """
        insert into billing.charges by name
        select i.delivery_id, c.* exclude (file_index, reason, detail, payload)
        from bill_charges as c
        inner join bill_ids as i
            using (file_index, provider, account, billing_period_start_at, billing_period_end_at)
        where c.reason is null
        """
    )
    return made


def supersede(
    connection: duckdb.DuckDBPyConnection, load: Collection[Delivery], also: Collection[str], now: datetime
) -> dict[str, str]:
    """Supersede what a replacing load replaces: current deliveries of its keys, and those named in `also`.

    Returns:
        Each superseded delivery and the one of the load that took its place.
    """
    successors = {_key(delivery): delivery.delivery_id for delivery in load}
    kept = {delivery.delivery_id for delivery in load}
    fallback = next(iter(successors.values()), None)
    replaced = {
        delivery.delivery_id: successor
        for delivery in _fetch(connection, "superseded_at is null", {})
        if delivery.delivery_id not in kept
        and (successor := successors.get(_key(delivery), fallback if delivery.delivery_id in also else None))
        is not None
    }
    for delivery_id, successor in replaced.items():
        connection.execute(
            "update billing.deliveries set superseded_at = $now, superseded_by = $successor where delivery_id = $id",
            {"now": now, "successor": successor, "id": delivery_id},
        )
    return replaced


def update(
    connection: duckdb.DuckDBPyConnection, delivery: Delivery, *, data_until_at: datetime | None, is_closed: bool
) -> Delivery:
    """Note on a loaded delivery that its period is closed, or how far its data reach, where that is new."""
    until = data_until_at or delivery.data_until_at
    if until == delivery.data_until_at and is_closed <= delivery.is_closed:
        return dataclasses.replace(delivery, status="unchanged")
    connection.execute(
        "update billing.deliveries set data_until_at = $until, is_closed = is_closed or $closed "
        "where delivery_id = $id",
        {"until": until, "closed": is_closed, "id": delivery.delivery_id},
    )
    return dataclasses.replace(
        delivery, status="updated", data_until_at=until, is_closed=delivery.is_closed or is_closed
    )


def count_others(connection: duckdb.DuckDBPyConnection, delivery: Delivery, load: Collection[Delivery]) -> int:
    """Return how many current deliveries of the same key are not part of the load."""
    part = {item.delivery_id for item in load}
    current = _fetch(
        connection,
        "superseded_at is null and billing_period_start_at = $start",
        {"start": delivery.billing_period_start_at},
    )
    return sum(_key(item) == _key(delivery) and item.delivery_id not in part for item in current)


def _key(delivery: Delivery) -> tuple[str, str, str, datetime]:
    # Only the start: two exports of one month may disagree on whether its last second belongs to it.
    return delivery.provider, delivery.account, delivery.dataset, delivery.billing_period_start_at


def _keys(connection: duckdb.DuckDBPyConnection, refused: Mapping[int, int], now: datetime) -> list[dict[str, Any]]:
    statement = next(model.sql for model in tokenmill_sql.models("billing") if model.relation == "bill_deliveries")
    result = connection.execute(
        f"select * from ({statement}) order by file_index, provider, account, billing_period_start_at", {"now": now}
    )
    names = [column[0] for column in result.description]
    keys = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    for key in keys:
        if key["is_first"]:
            placed = sum(other["rejected_row_count"] for other in keys if other["file_index"] == key["file_index"])
            key["rejected_row_count"] += refused.get(key["file_index"], 0) - placed
    return keys


def _new_id(connection: duckdb.DuckDBPyConnection, bill: BillFile, key: Mapping[str, Any]) -> str:
    """Return the id of a delivery: its billing period, then a digest of its content, key and how often it was loaded.

    A file that was replaced and is loaded again becomes a new delivery, so the count is part of the id; the moment is
    not, so that loading everything anew in the same order gives the same ids.
    """
    start, end = key["billing_period_start_at"], key["billing_period_end_at"]
    earlier = sum(
        (delivery.provider, delivery.account, delivery.billing_period_start_at)
        == (key["provider"], key["account"], start)
        for delivery in with_digest(connection, bill.digest)
    )
    parts = (bill.digest, key["provider"], key["account"], DATASET, start.isoformat(), end.isoformat(), str(earlier))
    return f"{start:%Y-%m}-{hashlib.sha256(chr(31).join(parts).encode()).hexdigest()[:12]}"


def _store(connection: duckdb.DuckDBPyConnection, delivery: Delivery) -> None:
    connection.execute(
        f"insert into billing.deliveries ({', '.join(_COLUMNS)}) values ({', '.join(f'${name}' for name in _COLUMNS)})",
        {name: getattr(delivery, name) for name in _COLUMNS},
    )


def _fetch(connection: duckdb.DuckDBPyConnection, condition: str, parameters: dict[str, object]) -> list[Delivery]:
    rows = connection.execute(
        f"select {', '.join(_COLUMNS)} from billing.deliveries where {condition} "
        "order by billing_period_start_at, provider, account, delivery_id",
        parameters,
    ).fetchall()
    return [Delivery(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
