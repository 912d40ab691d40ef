"""A data directory that the commands themselves filled: two hours of two simulated nodes, a bill and a rate card."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent import simulate
from tokenmill_agent.sink.stdout import LineSink
from tokenmill_pipeline.cli import main
from tokenmill_pipeline.demo.bill import write_bill, write_rates
from tokenmill_pipeline.demo.plan import SCENARIOS, Plan

HOURS = 2

Tokenmill = Callable[..., Any]


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Return the plan of two hours of yesterday."""
    end_at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Plan(
        data_dir=tmp_path_factory.mktemp("commands") / "data",
        first_at=end_at - timedelta(hours=HOURS),
        end_at=end_at,
        now=end_at - timedelta(seconds=10),
    )


@pytest.fixture(scope="session")
def data_dir(plan: Plan) -> Path:
    """Return the data directory after `ingest --file`, `billing load` and `build`."""
    plan.data_dir.mkdir(parents=True)
    lines = plan.data_dir / "messages.jsonl"
    since_us, end_us = (round(moment.timestamp() * 1e6) for moment in (plan.first_at, plan.now))
    nodes = [simulate.SimulatedNode(simulate.SCENARIOS[name], since_us=since_us) for name in SCENARIOS]
    sink = LineSink.file(lines)
    simulate.history(nodes, since_us, end_us, sink)
    sink.close(0)
    write_bill(plan)
    write_rates(plan)
    for command in (
        ["ingest", "--file", str(lines)],
        ["billing", "load", *map(str, sorted(plan.inbox_dir.iterdir()))],
        ["build"],
    ):
        assert 0 == main(["--data-dir", str(plan.data_dir), *command])
    return plan.data_dir


@pytest.fixture
def tokenmill(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Tokenmill:
    """Return what runs a command on that directory and gives what it printed as JSON."""

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = main(["--data-dir", str(data_dir), "--json", *arguments])
        printed = capsys.readouterr()

        assert code == found, printed.err
        return json.loads(printed.out)

    return run


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True
