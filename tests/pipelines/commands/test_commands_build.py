"""`tokenmill build` and `tokenmill publish`."""

from argparse import Namespace
from datetime import datetime
from pathlib import Path

import pytest

from tests.pipelines.commands.conftest import HOURS, Tokenmill
from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.commands.build import span
from tokenmill_pipeline.demo.plan import Plan


def test_a_build_without_news_makes_no_revision(tokenmill: Tokenmill) -> None:
    """Running it again changes no figure."""
    assert 0 == tokenmill("build")["revisions_made"]


def test_a_range_is_built_whether_dirty_or_not(tokenmill: Tokenmill, plan: Plan) -> None:
    """With --from and --to the hours are priced again; the same content is no new revision."""
    report = tokenmill(
        "build", "--from", plan.first_at.strftime("%Y-%m-%dT%H"), "--to", plan.end_at.isoformat(), "--no-publish"
    )

    assert HOURS == report["hours_priced"]
    assert 0 == report["revisions_made"]
    assert report["published"] is None


def test_publish_writes_the_file_anew(tokenmill: Tokenmill, data_dir: Path) -> None:
    """The published file is another one afterwards."""
    before = (data_dir / "analytics.duckdb").stat().st_ino
    report = tokenmill("publish", "--full")

    assert str(data_dir / "analytics.duckdb") == report["path"]
    assert before != (data_dir / "analytics.duckdb").stat().st_ino


def test_hours_are_read_in_utc() -> None:
    """A zone is converted, none means UTC."""
    found = span(Namespace(hour_from="2026-11-24T13:00+02:00", hour_to="2026-11-24T12"))

    assert (datetime(2026, 11, 24, 11), datetime(2026, 11, 24, 12)) == found  # noqa: DTZ001 - as the warehouse keeps it


def test_an_empty_range_is_refused() -> None:
    """The end is not before the start."""
    with pytest.raises(UsageError, match="is not before"):
        span(Namespace(hour_from="2026-11-24T12", hour_to="2026-11-24T12"))
