"""A server or deployments that end are noticed at once."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.demo.flows import Flows
from tokenmill_pipeline.demo.plan import Plan
from tokenmill_pipeline.flows import server
from tokenmill_pipeline.supervise import Service, Supervisor


def test_a_server_that_ends_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo does not wait for what is gone, and says where the logs are."""
    now = datetime(2026, 11, 24, 13, tzinfo=UTC)
    plan = Plan(data_dir=tmp_path, first_at=now, end_at=now, now=now)
    dead = Service(name=server.SERVER, command=(sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr(server, "server_service", lambda *_arguments: dead)
    with Supervisor(lambda _line: None) as supervisor:
        flows = Flows(supervisor, plan, {})
        while supervisor.process_ids:
            pass
        with pytest.raises(TokenmillError, match=r"the Prefect server or the deployments ended; see .*logs"):
            flows.look()
