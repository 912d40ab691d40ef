"""`tokenmill serve` with a real Prefect server: ingest, a bill and a build through deployments, down to the figures."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import broker
from tokenmill_pipeline.config import BuildSettings
from tokenmill_pipeline.demo.bill import write_bill, write_rates
from tokenmill_pipeline.demo.history import send_history
from tokenmill_pipeline.demo.plan import Plan, make_plan
from tokenmill_pipeline.flows.server import has_deployment, run_deployment
from tokenmill_pipeline.lag import lag_messages
from tokenmill_pipeline.topics import TopicSettings, create_topics

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

PATIENCE_SECONDS = 240.0
HOURS = 2
SOON_ASKED = {"PREFECT_RUNNER_POLL_FREQUENCY": "1"}
DEPLOYMENTS = ("tokenmill-billing/billing", "tokenmill-build/build")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running `tokenmill serve`, what it was started for, and the address of its Prefect server."""

    process: subprocess.Popen[bytes]
    plan: Plan
    kafka: KafkaSettings
    log: Path
    url: str


def eventually(condition: Callable[[], Any], what: str, log: Path) -> Any:
    """Return what the condition gives once that is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.25)
    return pytest.fail(f"waited {PATIENCE_SECONDS:g} s for {what}: {log.read_text(encoding='utf-8')[-3000:]}")


def scheduled_later() -> dict[str, str]:
    """Return a schedule that gives runs, none of which comes while the tests run."""
    later = datetime.now(UTC) + timedelta(hours=12)
    return {"TOKENMILL_SERVE_BILLING_CRON": f"{later.minute} {later.hour} * * *"}


def ask(url: str, path: str, body: object) -> Any:
    """Return what the server's API answers."""
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}{path}", data=data, headers=headers)  # noqa: S310 - this machine's server
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        return json.load(answer)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield `tokenmill serve --local-server` on two hours of two simulated nodes, everything ingested."""
    folder = tmp_path_factory.mktemp("serve")
    whole = make_plan(folder / "data", datetime.now(UTC), BuildSettings().grace_seconds)
    plan = dataclasses.replace(whole, first_at=whole.end_at - (whole.end_at - whole.first_at) * HOURS / 26)
    plan.data_dir.mkdir()
    write_bill(plan)
    write_rates(plan)
    log = folder / "serve.log"
    with broker.running(folder / "broker") as running, log.open("wb") as output:
        kafka = KafkaSettings(bootstrap_servers=(running.bootstrap,))
        create_topics(kafka, TopicSettings(partitions=2))
        process = subprocess.Popen(
            [sys.executable, "-m", "tokenmill_pipeline.cli", "serve", "--local-server", "--port", "0"],
            env={**os.environ, **plan.environment(running.bootstrap), **SOON_ASKED, **scheduled_later()},
            stdout=output,
            stderr=output,
        )
        try:
            send_history(plan, kafka, lambda _node, _share: None)
            found = eventually(lambda: re.search(r"server: (http://\S+)", log.read_text("utf-8")), "the address", log)
            url = f"{found[1]}/api"
            eventually(lambda: all(has_deployment(url, name) for name in DEPLOYMENTS), "the deployments", log)
            landing = plan.data_dir / "landing"
            eventually(lambda: not any(lag_messages(landing, kafka).values()), "ingest", log)
            yield Served(process=process, plan=plan, kafka=kafka, log=log, url=url)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()


@pytest.fixture(scope="module")
def states(served: Served) -> list[str]:
    """Return how one run of each deployment ended, the bill's first."""
    return [run_deployment(served.url, name, parameters={}, timeout_seconds=PATIENCE_SECONDS) for name in DEPLOYMENTS]


def test_deployments_load_the_bill_and_build_the_tables(served: Served, states: list[str]) -> None:
    """One run of each deployment makes the published file, with the bill's own dollars in it."""
    with duckdb.connect(str(served.plan.data_dir / "analytics.duckdb"), read_only=True) as connection:
        hours = connection.execute("select count(distinct hour_at) from marts.hourly_cost_per_token").fetchall()
        money = connection.execute(
            "select round(sum(effective_cost), 6) from hourly.unit_economics as e inner join hourly.revisions as r "
            "using (hour_at, revision) where r.superseded_at is null and e.provider = 'ExampleCloud'"
        ).fetchall()

    assert ["Completed", "Completed"] == states
    assert [(HOURS,)] == hours
    assert [(HOURS * (20.88 + 0.64),)] == money


@pytest.mark.usefixtures("states")
def test_a_run_of_the_same_hours_changes_nothing(served: Served) -> None:
    """Hours built again, by parameters of the deployment, get no new revision."""
    state = run_deployment(
        served.url,
        DEPLOYMENTS[1],
        parameters={"hour_from": served.plan.first_at.isoformat(), "hour_to": served.plan.end_at.isoformat()},
        timeout_seconds=PATIENCE_SECONDS,
    )
    with duckdb.connect(str(served.plan.data_dir / "analytics.duckdb"), read_only=True) as connection:
        revisions = connection.execute("select max(revision) from hourly.revisions").fetchall()

    assert "Completed" == state
    assert [(1,)] == revisions


def test_runs_are_scheduled(served: Served) -> None:
    """The server makes runs from the schedules; a server whose scheduler fails would look healthy otherwise."""
    body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}

    assert eventually(lambda: ask(served.url, "/flow_runs/filter", body), "scheduled runs", served.log)


def test_silent_runs_are_crashed_by_an_automation(served: Served) -> None:
    """The automation that ends runs whose process is gone is on the server, once."""
    names = [found["name"] for found in ask(served.url, "/automations/filter", {})]

    assert 1 == names.count("tokenmill-crash-zombies")


@pytest.mark.usefixtures("states")
def test_an_artifact_says_what_the_build_did(served: Served) -> None:
    """The report of a build stands beside its run."""
    found = ask(served.url, "/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["tokenmill-build"]}}})

    assert "hours_priced" in found[0]["data"]


def test_nothing_is_left_when_serve_is_told_to_stop(served: Served) -> None:
    """SIGTERM ends serve with exit code 0 and every process that it started."""
    children = [int(found) for found in re.findall(r"started, process (\d+)", served.log.read_text(encoding="utf-8"))]
    served.process.send_signal(signal.SIGTERM)
    code = served.process.wait(PATIENCE_SECONDS)

    assert 0 == code
    assert 3 == len(children)
    assert [] == [child for child in children if Path(f"/proc/{child}").exists()]
