"""Turns the columns that a batch collected into the frames of one slice, each value judged on the way."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import polars as pl

from tokenmill_pipeline.decode import Samples
from tokenmill_pipeline.ingest_settings import Limits
from tokenmill_pipeline.landing import HOUR_COLUMNS, SAMPLE_TABLES, HourRange
from tokenmill_pipeline.landing_schema import TABLES
from tokenmill_pipeline.limits import (
    OWNER,
    Fault,
    set_aside_power,
    set_aside_retired,
    set_aside_times,
    time_faults,
    value_faults,
)

_INT64: Final = range(-(2**63), 2**63)
_OF_MESSAGE: Final = (
    *("node", "boot_id", "run_id", "sequence", "run_key", "sent_at_us", "driver_version", "nvml_generation"),
    *("simulated", "topic", "partition", "offset", "appended_at_us", "exempt"),
)
"""The columns of a message that rows of other tables carry too."""
_OF_DEVICE: Final = ("series_key", "gpu_uuid", "power_limit_milliwatts", "energy_scope")
_OF_SERIES: Final = ("series_key", "server_id", "rank")
_EXTRA: Final[dict[str, pl.DataType]] = {"run_key": pl.Int64(), "exempt": pl.Boolean()}


class Rows:
    """Rows of one table as tuples, and for each the number of its message."""

    __slots__ = ("names", "owners", "rows")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.owners: list[int] = []
        self.rows: list[tuple[Any, ...]] = []

    def add(self, owner: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows of a message, each with a value for every name."""
        self.owners += [owner] * len(rows)
        self.rows += rows

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the same by column."""
        if not self.rows:
            return dict.fromkeys(self.names, ())
        return dict(zip(self.names, zip(*self.rows, strict=True), strict=True))


class Columns:
    """Samples of one table by column, for each the number of its message, and the row that it points at elsewhere."""

    __slots__ = ("_columns", "index", "owners")

    def __init__(self, names: Iterable[str]) -> None:
        self.owners: list[int] = []
        self.index: list[int] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in names}

    def add(self, owner: int, samples: Samples) -> None:
        """Append the samples of a message."""
        for name, column in self._columns.items():
            column.extend(getattr(samples, name))
        self.owners += [owner] * len(samples.sampled_at_us)

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the columns."""
        return dict(self._columns)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a batch has collected; `series` are the counter series that `token_samples` point at."""

    messages: Rows
    devices: Rows
    placements: Rows
    servers: Rows
    series: Rows
    gpu_samples: Columns
    host_samples: Columns
    token_samples: Columns


def judge(
    collected: Collected, limits: Limits, retired: Iterable[HourRange] = ()
) -> tuple[dict[str, pl.DataFrame], list[Fault]]:
    """Return the frames of `landing_schema.TABLES` but rejected_messages, and why messages or rows are not in them.

    A message with a value that cannot be is left out whole; a sample with an impossible power or time, and a row of an
    hour in `retired`, alone.
    """
    faults: list[Fault] = []
    messages, tables = _frames(collected, limits, faults)
    faults += time_faults(messages, _spans(tables), limits)
    if refused := {fault.message for fault in faults}:
        keep = ~pl.col(OWNER).is_in(list(refused))
        messages = messages.filter(keep)
        tables = {name: frame.filter(keep) for name, frame in tables.items()}
        faults = list({fault.message: fault for fault in reversed(faults)}.values())
    tables["messages"] = messages
    tables = {name: _set_aside(name, frame, limits, retired, faults) for name, frame in tables.items()}
    tables["messages"] = tables["messages"].join(_spans(tables), on=OWNER, how="left", maintain_order="left")
    tables["messages"] = tables["messages"].with_columns(pl.col("sample_rows").fill_null(0))
    return {name: _landed(name, frame) for name, frame in tables.items()}, faults


def _frames(collected: Collected, limits: Limits, faults: list[Fault]) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Return messages and the other tables with the columns of their message, device or series beside their own."""

    def own(table: str, part: Rows | Columns) -> pl.DataFrame:
        frame = _own_columns(table, part.columns(), part.owners, faults)
        faults.extend(value_faults(table, frame, limits))
        return frame

    messages = own("messages", collected.messages)
    devices = own("devices", collected.devices)
    series = own("token_samples", collected.series).select(_OF_SERIES)
    own_tables = {
        "devices": devices,
        "placements": own("placements", collected.placements),
        "servers": own("servers", collected.servers),
        "gpu_samples": _beside(
            own("gpu_samples", collected.gpu_samples), devices.select(_OF_DEVICE), collected.gpu_samples.index
        ),
        "host_samples": own("host_samples", collected.host_samples),
        "token_samples": _beside(own("token_samples", collected.token_samples), series, collected.token_samples.index),
    }
    shared = messages.select(_OF_MESSAGE)
    return messages, {name: _beside(frame, shared, frame[OWNER]) for name, frame in own_tables.items()}


def _own_columns(table: str, columns: dict[str, Sequence[Any]], owners: list[int], faults: list[Fault]) -> pl.DataFrame:
    types = {**TABLES[table], **_EXTRA}
    series = [pl.Series(OWNER, owners, dtype=pl.Int64)]
    for name, values in columns.items():
        dtype = pl.Int64() if types[name] == pl.Int32() else types[name]
        texts = [_json(value) for value in values] if name == "labels" else values
        try:
            series.append(pl.Series(name, texts, dtype=dtype))
        except (TypeError, OverflowError):
            # JSON knows integers of any length. Only then is each value looked at.
            fitting, found = _without_giants(f"{table}.{name}", values, owners)
            series.append(pl.Series(name, fitting, dtype=dtype))
            faults += found
    return pl.DataFrame(series)


def _json(labels: dict[str, str]) -> str:
    return msgspec.json.encode(labels, order="deterministic").decode()


def _without_giants(where: str, values: Sequence[Any], owners: list[int]) -> tuple[list[Any], list[Fault]]:
    """Return the values with None for every integer beyond 64 bits, and a fault for each of those."""
    giants = {i: value for i, value in enumerate(values) if isinstance(value, int) and value not in _INT64}
    faults = [
        Fault(message=owners[i], reason="value_out_of_range", detail=f"{where} holds {str(value)[:40]}")
        for i, value in giants.items()
    ]
    return [None if i in giants else value for i, value in enumerate(values)], faults


def _beside(frame: pl.DataFrame, other: pl.DataFrame, index: Sequence[int] | pl.Series) -> pl.DataFrame:
    """Return `frame` with the columns of `other` that it lacks, taken from the rows that `index` points at."""
    wanted = other.select(name for name in other.columns if name not in frame.columns)
    return frame.hstack(wanted[pl.Series(index, dtype=pl.UInt32)])


def _spans(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    sampled = pl.col("sampled_at_us")
    return (
        pl.concat(tables[name].select(OWNER, "sampled_at_us") for name in SAMPLE_TABLES)
        .group_by(OWNER)
        .agg(first_sampled_at_us=sampled.min(), last_sampled_at_us=sampled.max(), sample_rows=pl.len())
    )


def _set_aside(
    table: str, frame: pl.DataFrame, limits: Limits, retired: Iterable[HourRange], faults: list[Fault]
) -> pl.DataFrame:
    column = HOUR_COLUMNS[table]
    if column != "sent_at_us":
        frame, found = set_aside_times(frame, column, limits)
        faults += found
    if table == "gpu_samples":
        frame, found = set_aside_power(frame, limits)
        faults += found
    frame, found = set_aside_retired(frame, column, retired)
    faults += found
    return frame


def _landed(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in TABLES[table].items())
