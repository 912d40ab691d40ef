"""Marking hours: what a bill or a price touches is restated, and nothing else."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from tests.pipelines.billing.bills import NOW, at, in_memory, load_into, usage, write_bill
from tokenmill_pipeline.billing import marking
from tokenmill_pipeline.billing.load import LoadOptions

WHEN = NOW.replace(tzinfo=None)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return an empty warehouse in memory."""
    with in_memory() as opened:
        yield opened


def _built(connection: duckdb.DuckDBPyConnection, *hours: datetime) -> None:
    connection.executemany(
        "insert into hourly.revisions values ($1, 1, 'open', $1, null, 'telemetry', false, '', '', '', '')",
        [[hour] for hour in hours],
    )


def _marked(connection: duckdb.DuckDBPyConnection) -> list[datetime]:
    return [row[0] for row in connection.execute("select hour_at from ops.dirty_hours order by all").fetchall()]


def _row(start: str, end: str, category: str = "Usage", effective: str = "1") -> str:
    line = usage(0).replace("2025-05-01T00:00:00Z,2025-05-01T01:00:00Z", f"{start},{end}")
    return line.replace("Usage,1.00,1.00", f"{category},1.00,{effective}")


def test_a_row_marks_each_hour_that_it_touches(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Also the two that it only reaches into."""
    load_into(connection, write_bill(tmp_path / "b.csv", [_row("2025-05-01T00:30:00Z", "2025-05-01T02:00:01Z")]))

    assert [at(2025, 5, 1, hour) for hour in (0, 1, 2)] == _marked(connection)


def test_a_month_marks_its_hours(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A row of May is 744 hours."""
    load_into(connection, write_bill(tmp_path / "b.csv", [_row("2025-05-01", "2025-06-01")]))

    assert 744 == len(_marked(connection))


def test_the_purchase_of_a_commitment_marks_only_hours_that_were_built(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """What it costs an hour is in the rows that use it; three years of hours would say nothing more."""
    _built(connection, at(2025, 4, 30, 23), at(2025, 7, 1), at(2025, 7, 1, 1))
    purchase = _row("2025-05-01", "2028-05-01", "Purchase", effective="0")

    load_into(connection, write_bill(tmp_path / "b.csv", [purchase]))

    assert [at(2025, 7, 1), at(2025, 7, 1, 1)] == _marked(connection)


def test_a_subscription_marks_its_hours_also_those_to_come(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Its cost is spread over hours that no later file will mark; they wait on the list."""
    load_into(connection, write_bill(tmp_path / "b.csv", [_row("2026-11-24T11:00:00Z", "2026-11-24T15:00:00Z")]))

    assert [at(2026, 11, 24, hour) for hour in (11, 12, 13, 14)] == _marked(connection)


def test_a_charge_without_an_end_marks_no_more_than_the_longest_commitment(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """An end in the year 2199 is no plan."""
    load_into(connection, write_bill(tmp_path / "b.csv", [_row("2026-11-24", "2199-01-01", "Purchase")]))

    assert 24 * marking.AHEAD_DAYS_MAX + 12 == len(_marked(connection))


def test_hours_of_the_billing_period_that_were_built_lose_their_estimate(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """A bill that covers an account ends the rate card's estimates there, also in hours without a row."""
    _built(connection, at(2025, 5, 20), at(2025, 6, 1))

    load_into(connection, write_bill(tmp_path / "b.csv", [usage(0)]))

    assert [at(2025, 5, 1), at(2025, 5, 20)] == _marked(connection)


def test_a_mark_names_the_delivery_that_caused_it(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """An hour that a replacement emptied is marked by the replacement."""
    load_into(connection, write_bill(tmp_path / "a.csv", [usage(3)]))
    connection.execute("delete from ops.dirty_hours")

    report = load_into(connection, write_bill(tmp_path / "b.csv", [usage(4)]), LoadOptions(delivery="replace"))

    sources = connection.execute("select distinct cause, source from ops.dirty_hours").fetchall()
    assert [("billing", report.deliveries[0].delivery_id)] == sources


def test_a_price_marks_the_built_hours_in_which_it_holds(connection: duckdb.DuckDBPyConnection) -> None:
    """From its date until the next one, the hour in which it begins included."""
    _built(connection, *(at(2025, 5, 1, hour) for hour in range(5)))

    marked = marking.mark_reference(connection, "pue:eu", at(2025, 5, 1, 2), at(2025, 5, 1, 4), WHEN)

    assert (2, [at(2025, 5, 1, 2), at(2025, 5, 1, 3)]) == (marked, _marked(connection))


def test_marking_twice_counts_once(connection: duckdb.DuckDBPyConnection) -> None:
    """A mark that stands is not a new one."""
    _built(connection, at(2025, 5, 1))

    counts = [marking.mark_reference(connection, "pue:eu", at(2025, 1, 1), None, WHEN) for _ in range(2)]

    assert [1, 0] == counts
