"""What the billing tests share: a warehouse of its own, a bill as text, and the public example files."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from tokenmill_pipeline import warehouse
from tokenmill_pipeline.billing import load, source
from tokenmill_pipeline.billing.load import LoadOptions, LoadReport
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import PipelineSettings

NOW: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
FOCUS_DIR: Final = Path(__file__).parents[4] / "shared" / "data" / "billing" / "focus"
needs_focus_files = pytest.mark.skipif(
    not FOCUS_DIR.is_dir(), reason="the public FOCUS example files are not beside the repository"
)

FLAGS: Final = LoadOptions(provider="Example", account="acct", currency="USD")
"""What many of the example files leave out."""

MINIMAL_HEADER: Final = (
    "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,"
    "ChargeCategory,BilledCost,EffectiveCost,ProviderName"
)


def expected_totals() -> dict[str, Any]:
    """Return what the example files add up to, or nothing where they are absent."""
    path = FOCUS_DIR / "expected_totals.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"files": {}, "sequences": []}


def settings(tmp_path: Path) -> PipelineSettings:
    """Return settings whose data lie under the test's own directory."""
    return PipelineSettings(data_dir=tmp_path / "data", memory_limit_megabytes=1024)


def run(
    tmp_path: Path,
    path: Path,
    options: LoadOptions = FLAGS,
    *,
    now: datetime = NOW,
    billing: BillingSettings | None = None,
) -> LoadReport:
    """Load a bill as the command does."""
    return load.load_path(settings(tmp_path), billing or BillingSettings(), path, options=options, now=now)


def load_into(
    connection: duckdb.DuckDBPyConnection, path: Path, options: LoadOptions = FLAGS, *, now: datetime = NOW
) -> LoadReport:
    """Load one file of a bill into an open warehouse."""
    return load.load_bills(
        connection, [source.inspect(path)], options, BillingSettings(), work_dir=path.parent, now=now
    )


@contextmanager
def in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to an empty warehouse that lies in memory."""
    with warehouse.connect(":memory:", PipelineSettings(memory_limit_megabytes=1024)) as connection:
        warehouse.prepare(connection)
        yield connection


@contextmanager
def opened(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to the test's warehouse."""
    with warehouse.open_warehouse(settings(tmp_path)) as connection:
        yield connection


def rows(tmp_path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query on the test's warehouse gives."""
    with opened(tmp_path) as connection:
        return connection.execute(query).fetchall()


def usage(hour: int = 0, *, cost: str = "1.00", day: int = 1, provider: str = "Example", account: str = "acct") -> str:
    """Return one row under MINIMAL_HEADER: an hour of usage in May 2025."""
    start = f"2025-05-{day:02d}T{hour:02d}:00:00Z"
    end = f"2025-05-{day:02d}T{hour + 1:02d}:00:00Z"
    return f"{account},USD,2025-05-01T00:00:00Z,2025-06-01T00:00:00Z,{start},{end},Usage,{cost},{cost},{provider}"


def write_bill(path: Path, lines: Sequence[str], header: str = MINIMAL_HEADER, end: str = "\n") -> Path:
    """Write a bill of these rows and return its path."""
    path.write_text(end.join([header, *lines]) + end, encoding="utf-8")
    return path


def decimal(text: str) -> Decimal:
    """Return an amount as the table keeps it."""
    return Decimal(text).quantize(Decimal("0.000000000001"))


def at(year: int, month: int, day: int, hour: int = 0) -> datetime:
    """Return a moment as the warehouse keeps it: UTC without a zone."""
    return datetime(year, month, day, hour, tzinfo=UTC).replace(tzinfo=None)
