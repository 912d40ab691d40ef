"""Judges the values of decoded messages, whole columns at a time: which messages and which single rows are refused."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final

import polars as pl

from tokenmill_pipeline.ingest_settings import Limits
from tokenmill_pipeline.landing import HOUR_US, HourRange
from tokenmill_pipeline.landing_schema import TABLES

OWNER: Final = "_message"
"""The column that says which message of the batch a row belongs to, by its number."""

INT32_MAX: Final = 2**31 - 1
_DAY_US: Final = 24 * HOUR_US
_MINUTE_US: Final = 60_000_000
_MAY_BE_NEGATIVE: Final = frozenset({"temperature_celsius", "series_key", "run_key"})
_SHARES: Final = frozenset({"share"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a message, or some rows of it, are not landed."""

    message: int
    reason: str
    detail: str


def value_faults(table: str, frame: pl.DataFrame, limits: Limits) -> list[Fault]:
    """Return at most one fault for each message of which a value is out of range, each of them refused whole.

    Text is bounded in bytes; integers are not negative, but for temperatures; 32-bit columns fit; shares lie in 0..1.
    """
    tests = {name: test for name in frame.columns if (test := _out_of_range(table, name, limits)) is not None}
    if frame.is_empty() or not tests:
        return []
    flagged = frame.select(test.any().alias(name) for name, test in tests.items()).row(0, named=True)
    faults: dict[int, Fault] = {}
    for name in (name for name, bad in flagged.items() if bad):
        rows = frame.filter(tests[name]).unique(OWNER, keep="first").select(OWNER, name).rows()
        reason = "string_too_long" if TABLES[table][name] == pl.String() else "value_out_of_range"
        faults |= {owner: Fault(message=owner, reason=reason, detail=_say(table, name, value)) for owner, value in rows}
    return list(faults.values())


def _out_of_range(table: str, name: str, limits: Limits) -> pl.Expr | None:
    dtype, column = TABLES[table].get(name), pl.col(name)
    if dtype == pl.String():
        bound = limits.labels_bytes_max if name == "labels" else limits.string_bytes_max
        return column.str.len_bytes() > bound
    if name in _SHARES:
        return ~column.is_between(0.0, 1.0)
    if dtype == pl.Float64():
        return ~(column.is_finite() & (column >= 0))
    if dtype == pl.Int32():
        return ~column.is_between(-INT32_MAX if name in _MAY_BE_NEGATIVE else 0, INT32_MAX)
    if dtype == pl.Int64() and name not in _MAY_BE_NEGATIVE:
        return column < 0
    return None


def _say(table: str, name: str, value: object) -> str:
    text = f"{len(value)} characters" if isinstance(value, str) else str(value)
    return f"{table}.{name} holds {text}"


def time_faults(messages: pl.DataFrame, spans: pl.DataFrame, limits: Limits) -> list[Fault]:
    """Return a fault for each message that was sent outside the bounds or whose samples lie too far apart.

    Args:
        messages: sent_at_us, appended_at_us and `exempt` (no bound in the past), one row per message.
        spans: first and last sample time (`first_sampled_at_us`, `last_sampled_at_us`) per message.
        limits: the bounds.
    """
    wrong = messages.filter(_outside(pl.col("sent_at_us"), limits)).select(OWNER, "sent_at_us", "appended_at_us")
    wide = (pl.col("last_sampled_at_us") - pl.col("first_sampled_at_us")).alias("span_us")
    long = spans.select(OWNER, wide).filter(pl.col("span_us") > limits.message_span_hours_max * HOUR_US)
    return [
        *(
            Fault(message=owner, reason="sent_at_out_of_range", detail=_distance("sent", sent, appended))
            for owner, sent, appended in wrong.rows()
        ),
        *(
            Fault(message=owner, reason="span_too_long", detail=f"its samples span {span / HOUR_US:.1f} hours")
            for owner, span in long.rows()
        ),
    ]


def _outside(time: pl.Expr, limits: Limits) -> pl.Expr:
    appended = pl.col("appended_at_us")
    ahead = time > appended + limits.sample_ahead_minutes_max * _MINUTE_US
    return ahead | (~pl.col("exempt") & (time < appended - limits.sample_age_days_max * _DAY_US))


def _distance(what: str, time_us: int, appended_at_us: int) -> str:
    hours = (time_us - appended_at_us) / HOUR_US
    return f"{what} {abs(hours):.2f} hours {'after' if hours > 0 else 'before'} it was appended"


def set_aside_times(frame: pl.DataFrame, column: str, limits: Limits) -> tuple[pl.DataFrame, list[Fault]]:
    """Return the rows whose time lies within the bounds, and a fault per message that loses some.

    `frame` carries appended_at_us and `exempt`.
    """
    return _set_aside(
        frame,
        _outside(pl.col(column), limits),
        "sample_time_out_of_range",
        lambda row: _distance("taken", row[column], row["appended_at_us"]),
    )


def set_aside_power(frame: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, list[Fault]]:
    """Return the samples whose power is at most a factor of the GPU's limit, and a fault per message that loses some.

    A reading of a whole module (CPU and GPUs) has no limit of one GPU to be held against.
    """
    reading = pl.max_horizontal("power_mean_milliwatts", "power_max_milliwatts")
    bound = pl.col("power_limit_milliwatts") * limits.power_limit_factor
    above = (reading > bound) & (pl.col("energy_scope") == "gpu")

    def say(row: dict[str, Any]) -> str:
        power = max(value for name in _POWERS if isinstance(value := row[name], int))
        return f"{row['gpu_uuid']} reads {power} milliwatts, its limit is {row['power_limit_milliwatts']}"

    return _set_aside(frame, above.fill_null(value=False), "power_above_limit", say)


_POWERS: Final = ("power_mean_milliwatts", "power_max_milliwatts")


def set_aside_retired(
    frame: pl.DataFrame, column: str, retired: Iterable[HourRange]
) -> tuple[pl.DataFrame, list[Fault]]:
    """Return the rows that lie in no hour that retention has deleted, and a fault per message that loses some."""
    late = [pl.col(column).is_between(hours.first_us, hours.end_us, closed="left") for hours in retired]
    if not late:
        return frame, []
    return _set_aside(frame, pl.any_horizontal(late), "too_late", lambda _: "their hours are deleted already")


def _set_aside(
    frame: pl.DataFrame, bad: pl.Expr, reason: str, say: Callable[[dict[str, Any]], str]
) -> tuple[pl.DataFrame, list[Fault]]:
    if frame.is_empty() or not frame.select(bad.any()).item():
        return frame, []
    marked = frame.with_columns(_bad=bad)
    refused = marked.filter("_bad")
    counts = dict(refused.group_by(OWNER).len().rows())
    faults = [
        Fault(message=row[OWNER], reason=reason, detail=f"{say(row)} ({counts[row[OWNER]]} rows set aside)")
        for row in refused.unique(OWNER, keep="first").iter_rows(named=True)
    ]
    return marked.filter(~pl.col("_bad")).drop("_bad"), faults
