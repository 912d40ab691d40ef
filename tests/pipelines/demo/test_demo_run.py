"""The demo itself, on fewer hours: it ends well, twice, and leaves nothing running."""

import json
from pathlib import Path

import pytest

from tokenmill_pipeline import broker, supervise
from tokenmill_pipeline.cli import main
from tokenmill_pipeline.demo import plan, run
from tokenmill_pipeline.demo.show import QUERIES

HOURS = 2


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo take two hours and live for three seconds."""
    monkeypatch.setattr(plan, "HOURS", HOURS)
    monkeypatch.setattr(run, "LIVE_SECONDS", 3.0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the processes that the demo starts."""
    found: list[int] = []
    spawn, start = supervise._spawn, broker.start

    def spawn_noted(service: supervise.Service) -> object:
        process = spawn(service)
        found.append(process.pid)
        return process

    def start_noted(data_dir: Path, port: int = 0) -> broker.Broker:
        running = start(data_dir, port)
        found.append(running.process.pid)
        return running

    monkeypatch.setattr(supervise, "_spawn", spawn_noted)
    monkeypatch.setattr(broker, "start", start_noted)
    return found


def alive(processes: list[int]) -> list[int]:
    """Return those that still are there."""
    return [process for process in processes if Path(f"/proc/{process}").exists()]


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_run_twice_it_works_twice_and_can_be_asked(
    tmp_path: Path, started: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Both runs publish every hour, say so, and leave no process; each query that the demo suggests gives rows."""
    reports = []
    for _ in range(2):
        assert 0 == main(["--data-dir", str(tmp_path / "demo"), "--json", "demo", "--no-flows"])
        reports.append(json.loads(capsys.readouterr().out))

    for query in QUERIES:
        assert 0 == main(["--data-dir", str(tmp_path / "demo"), "--json", "sql", query])
        assert [] != json.loads(capsys.readouterr().out)

    assert [(HOURS, True)] * 2 == [(report["hours"], report["simulated"]) for report in reports]
    assert 6 == len(started)
    assert [] == alive(started)


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short")
def test_with_flows_both_tables_are_printed(
    tmp_path: Path, started: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Through a real Prefect server the same tables come out, each marked as simulated."""
    assert 0 == main(["--data-dir", str(tmp_path / "demo"), "demo"])
    printed = capsys.readouterr().out

    for relation in ("marts.hourly_cost_per_token", "marts.hourly_tokens_per_megawatt", "marts.cost_reconciliation"):
        assert f"SIMULATED: {relation}" in printed
    assert "by a flow on the local Prefect server" in printed
    assert 3 == printed.count('demo sql "')
    assert [] == alive(started)
