"""Runs the demo: broker, history, live agents, bill, build, tables; nothing is left running at its end."""

import concurrent.futures
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import broker
from tokenmill_pipeline.billing.load import load_inbox
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build
from tokenmill_pipeline.commands.base import Progress, progress_bar
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.demo.bill import write_bill, write_rates
from tokenmill_pipeline.demo.flows import Flows
from tokenmill_pipeline.demo.history import send_history
from tokenmill_pipeline.demo.plan import SCENARIOS, Plan, empty_directory, make_plan
from tokenmill_pipeline.demo.show import advice, headline, show
from tokenmill_pipeline.lag import lag_messages
from tokenmill_pipeline.supervise import Service, Supervisor
from tokenmill_pipeline.tables import Output
from tokenmill_pipeline.topics import TopicSettings, create_topics

LIVE_SECONDS: Final = 12.0
PATIENCE_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.25
PARTITIONS: Final = 4
AGENTS: Final = "agents"
SHARES: Final = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Demo:
    """What the steps of one demo share."""

    plan: Plan
    pipeline: PipelineSettings
    kafka: KafkaSettings
    environment: dict[str, str]
    supervisor: Supervisor
    progress: Progress
    say: Callable[[str], None]


def run_demo(data_dir: Path, output: Output, *, with_flows: bool) -> None:
    """Run the demo in `data_dir`, which is emptied first, and print both tables.

    Raises:
        TokenmillError: a step failed; the sentence says which and where its log is.
    """
    plan = make_plan(data_dir, datetime.now(UTC), BuildSettings().grace_seconds)
    pipeline = PipelineSettings(data_dir=plan.data_dir)
    empty_directory(plan.data_dir)
    say = _teller(output)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(broker.running(plan.data_dir / "broker"))
        demo = _Demo(
            plan=plan,
            pipeline=pipeline,
            kafka=KafkaSettings(bootstrap_servers=(running.bootstrap,)),
            environment=plan.environment(running.bootstrap),
            supervisor=stack.enter_context(Supervisor(lambda _line: None)),
            progress=stack.enter_context(progress_bar(quiet=output.form != "table")),
            say=say,
        )
        say(f"broker at {running.bootstrap}, data in {plan.data_dir}; everything here is simulated")
        _run(demo, with_flows=with_flows)
    if output.form == "json":
        output.report(headline(pipeline))
        return
    show(pipeline, plan.end_at, output)
    say("done")
    for line in advice(plan.data_dir, pipeline.published_path):
        output.say(line)


def _run(demo: _Demo, *, with_flows: bool) -> None:
    create_topics(demo.kafka, TopicSettings(partitions=PARTITIONS))
    write_bill(demo.plan)
    write_rates(demo.plan)
    demo.supervisor.start(_service(demo, "ingest", "tokenmill_pipeline.cli", "ingest", "--follow"))
    # The server needs its ten seconds while history is sent on the other core.
    flows = Flows(demo.supervisor, demo.plan, demo.environment) if with_flows else None
    _send(demo, flows)
    demo.supervisor.start(_agents(demo))
    demo.say(f"both nodes live for {LIVE_SECONDS:g} s, in real time")
    _load_bills(demo, flows)
    _wait(demo, "the agents to stop", lambda: demo.supervisor.exit_code(AGENTS) is not None)
    if demo.supervisor.exit_code(AGENTS) != 0:
        raise TokenmillError(f"the live agents failed; see {demo.plan.logs_dir / AGENTS}.log")
    _wait(demo, "ingest to land everything", lambda: _waiting_messages(demo) == 0)
    _build(demo, flows)


def _agents(demo: _Demo) -> Service:
    """Return the agents of both nodes, whose counters go on where the history ended."""
    arguments = {
        "--simulate": ",".join(SCENARIOS),
        "--simulate-since": demo.plan.first_at.isoformat(),
        "--telemetry-port": "0",
        "--log-level": "warning",
        "--for": f"{LIVE_SECONDS:g}",
    }
    flat = [part for pair in arguments.items() for part in pair]
    return _service(demo, AGENTS, "tokenmill_agent.cli", "run", *flat, restart=False)


def _send(demo: _Demo, flows: Flows | None) -> None:
    def progress(node: str, share: float) -> None:
        demo.progress(f"history of {node}", int(share * SHARES), SHARES)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_history, demo.plan, demo.kafka, progress)
        while not sending.done():
            if flows is not None:
                flows.look()
            time.sleep(POLL_SECONDS)
    counts = sending.result()
    hours = (demo.plan.end_at - demo.plan.first_at).total_seconds() / 3600
    demo.say(
        f"{hours:g} whole hours of {len(SCENARIOS)} nodes sent through Kafka: {counts.messages:,} messages, "
        f"{counts.gpu_rows:,} GPU rows, {counts.token_rows:,} token rows"
    )


def _load_bills(demo: _Demo, flows: Flows | None) -> None:
    if flows is None:
        load_inbox(demo.pipeline, BillingSettings(inbox_dir=demo.plan.inbox_dir), now=datetime.now(UTC))
        demo.say("a bill and a rate card loaded")
        return
    _wait(demo, "the Prefect server and the deployments", flows.look)
    flows.run("tokenmill-billing/billing")
    demo.say(f"a bill and a rate card loaded, by a flow on the local Prefect server at {flows.url}")


def _build(demo: _Demo, flows: Flows | None) -> None:
    if flows is None:
        billing = BillingSettings(inbox_dir=demo.plan.inbox_dir)
        build(demo.pipeline, BuildSettings(), FleetSettings(), billing, now=datetime.now(UTC), progress=demo.progress)
        demo.say("every hour built and published")
        return
    flows.run("tokenmill-build/build")
    demo.say("every hour built and published, by a flow")


def _waiting_messages(demo: _Demo) -> int:
    return sum(lag_messages(demo.pipeline.landing_dir, demo.kafka).values())


def _wait(demo: _Demo, what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() >= deadline:
            raise TokenmillError(f"waited {PATIENCE_SECONDS:g} s for {what}; the logs are in {demo.plan.logs_dir}")
        time.sleep(POLL_SECONDS)


def _service(demo: _Demo, name: str, module: str, *arguments: str, restart: bool = True) -> Service:
    return Service(
        name=name,
        command=(sys.executable, "-m", module, *arguments),
        environment=demo.environment,
        restart=restart,
        log_path=demo.plan.logs_dir / f"{name}.log",
    )


def _teller(output: Output) -> Callable[[str], None]:
    started = time.monotonic()
    return lambda line: output.say(f"[{time.monotonic() - started:5.1f} s] {line}")
