"""Which hours the demo takes, and what it may empty."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.demo.plan import HOURS, empty_directory, make_plan


@pytest.mark.parametrize(("minute", "end_hour"), [(37, 14), (4, 13), (5, 14)])
def test_the_hours_are_those_that_a_build_takes_for_finished(minute: int, end_hour: int, tmp_path: Path) -> None:
    """An hour that ended less than the grace ago is not among them."""
    plan = make_plan(tmp_path, datetime(2026, 11, 24, 14, minute, 10, tzinfo=UTC), grace_seconds=300)

    assert datetime(2026, 11, 24, end_hour, tzinfo=UTC) == plan.end_at
    assert timedelta(hours=HOURS) == plan.end_at - plan.first_at


def test_a_directory_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    """The demo can be run again in the same place."""
    empty_directory(tmp_path / "demo")
    (tmp_path / "demo" / "warehouse.duckdb").touch()
    empty_directory(tmp_path / "demo")

    assert ["SIMULATED"] == [path.name for path in (tmp_path / "demo").iterdir()]


def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory with files of other origin is never emptied."""
    (tmp_path / "warehouse.duckdb").touch()
    with pytest.raises(UsageError, match="holds what no demo has made"):
        empty_directory(tmp_path)

    assert (tmp_path / "warehouse.duckdb").exists()
