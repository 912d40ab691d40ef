"""What every command shares: how an hour is read, and the progress bar."""

import sys
from datetime import datetime

import pytest

from tests.pipelines.commands.conftest import Terminal
from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.commands.base import hour, progress_bar


@pytest.mark.parametrize(
    "text", ["2026-11-24T13", "2026-11-24T13:00", "2026-11-24T13:00:00Z", "2026-11-24T15:00+02:00"]
)
def test_an_hour_is_read_in_utc(text: str) -> None:
    """Every usual form names the same hour, without a zone, as the warehouse keeps it."""
    assert datetime(2026, 11, 24, 13) == hour(text)  # noqa: DTZ001 - UTC without a zone


@pytest.mark.parametrize("text", ["noon", "2026-11-24T13:30", "2026-13-01"])
def test_what_is_no_hour_is_refused(text: str) -> None:
    """The sentence says how an hour is written."""
    with pytest.raises(UsageError, match="write 2026-11-24T13"):
        hour(text)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal the step and its count are shown."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(quiet=False) as progress:
        progress("hours", 13, 26)

    assert "13/26" in terminal.getvalue()


def test_a_pipe_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A log is not filled with bars."""
    with progress_bar(quiet=False) as progress:
        progress("hours", 13, 26)

    assert "" == capsys.readouterr().err
