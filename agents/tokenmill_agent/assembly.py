"""Puts an agent together from its settings: of this node's real parts, or of an invented node's."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tokenmill_agent.clock import MICROSECONDS, Clock, SystemClock, boottime_us
from tokenmill_agent.config import AgentSettings, Config
from tokenmill_agent.errors import UsageError
from tokenmill_agent.gpu.devices import GpuReader
from tokenmill_agent.gpu.sampler import GpuSampler
from tokenmill_agent.gpu.simulated import SimulatedReader
from tokenmill_agent.host.reading import HostSource
from tokenmill_agent.host.sampler import HostSampler
from tokenmill_agent.host.sources import make_sources
from tokenmill_agent.identity.learn import Find, learn_beside, overlay
from tokenmill_agent.looker import Finder, Looker, PlacementSource, TokenSource
from tokenmill_agent.loop import Agent, count_reading
from tokenmill_agent.messages import Messenger, agent_version
from tokenmill_agent.placement.kubernetes.node import KubernetesNode
from tokenmill_agent.placement.kubernetes.placer import KubernetesPlacer
from tokenmill_agent.placement.kubernetes.setup import api_server, identity_sources, kubernetes_node
from tokenmill_agent.placement.kubernetes.tokens import KubernetesTokens
from tokenmill_agent.placement.placer import Placer
from tokenmill_agent.records import Identity
from tokenmill_agent.servers.scrape import TokenWatcher
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.simulated.node import SimulatedNode
from tokenmill_agent.simulated.scenario import SCENARIOS
from tokenmill_agent.simulated.servers import SimulatedPlacer, SimulatedWatcher
from tokenmill_agent.sink import Sink
from tokenmill_agent.sink.kafka import KafkaSink
from tokenmill_agent.sink.spool import Spool
from tokenmill_agent.sink.stdout import LineSink
from tokenmill_agent.state import RunState
from tokenmill_agent.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one node is read through."""

    node: str
    identity: Identity
    clock: Clock
    reader: GpuReader | None
    tokens: TokenSource | None
    placements: PlacementSource
    simulated: bool
    finder: Finder | None = None
    learn: tuple[Find, ...] = ()
    kubernetes: KubernetesNode | None = None
    host: Sequence[HostSource] = ()


def real_parts(config: Config, telemetry: Telemetry) -> Parts:
    """Return the parts of this node.

    Raises:
        TokenmillError: there is no driver, or it cannot be used.
        UsageError: a configured server or placement cannot be right.
    """
    settings, clock = config.agent, SystemClock()
    # Without processes on GPUs nothing can be found.
    finds = settings.discover and settings.gpus == "nvml"
    watcher = TokenWatcher(settings.servers, node=config.node, clock=clock)
    api = api_server(config, os.environ)
    pods = kubernetes_node(config, api) if api is not None else None
    tokens: TokenSource = watcher
    if pods is not None:
        tokens = KubernetesTokens(watcher, pods, settings.servers, pid_of=watcher.pid_of)
    return Parts(
        node=config.node,
        identity=settings.identity,
        clock=clock,
        reader=_nvml_reader(settings, clock, telemetry) if settings.gpus == "nvml" else None,
        tokens=tokens if settings.servers or finds else None,
        finder=watcher if finds else None,
        placements=Placer(
            settings.placements,
            clock=clock,
            pid_of=watcher.pid_of,
            kubernetes=KubernetesPlacer(pods) if pods is not None else None,
        ),
        learn=identity_sources(config, api),
        kubernetes=pods,
        simulated=False,
        host=make_sources(settings.host),
    )


def simulated_parts(node: SimulatedNode, clock: Clock) -> Parts:
    """Return the parts of an invented node."""
    return Parts(
        node=node.name,
        identity=node.identity,
        clock=clock,
        reader=SimulatedReader(node, clock=clock),
        tokens=SimulatedWatcher(node, clock=clock),
        placements=SimulatedPlacer(node),
        simulated=True,
    )


def simulated_nodes(config: Config) -> list[SimulatedNode]:
    """Return the invented nodes that the settings name; what [agent.identity] says wins over a scenario's own.

    Raises:
        UsageError: one name for several nodes, or `since` is no time or in the future.
    """
    simulate = config.agent.simulate
    if config.agent.node is not None and len(simulate.scenarios) > 1:
        raise UsageError("--node names one node, but several are simulated: leave it out")
    since_us = _since_us(simulate.since)
    return [
        SimulatedNode(
            SCENARIOS[name],
            since_us=since_us,
            seed=simulate.seed,
            node=config.agent.node,
            identity=overlay(SCENARIOS[name].identity, config.agent.identity),
        )
        for name in simulate.scenarios
    ]


def live_clock(node: SimulatedNode) -> SystemClock:
    """Return the system's clock as an invented node sees it: with the node's own boot."""
    wall_us = SystemClock(boot_id=node.boot_id).now_us()
    return SystemClock(boot_id=node.boot_id, monotonic_offset_us=wall_us - node.booted_at_us - boottime_us())


def make_agent(
    parts: Parts,
    *,
    settings: AgentSettings,
    kafka: KafkaSettings,
    sink: Sink,
    telemetry: Telemetry,
    delivery: Literal["live", "replayed"] = "live",
) -> Agent:
    """Return an agent of `parts`. On a driven clock it looks at servers in line, else in a thread of its own."""
    run = RunState(
        settings.state_dir / parts.node if settings.state_dir is not None else None,
        failed=lambda: telemetry.count("state_errors_total"),
    )
    telemetry.set("info", 1, node=parts.node, version=agent_version(), run_id=run.run_id)
    sampler = (
        GpuSampler(
            parts.reader,
            max_gap_us=round(settings.max_power_gap_seconds * MICROSECONDS),
            seen=count_reading(telemetry),
        )
        if parts.reader is not None
        else None
    )
    messenger = Messenger(
        node=parts.node, identity=parts.identity, clock=parts.clock, run=run, simulated=parts.simulated
    )
    if parts.learn:
        learn_beside(parts.identity, parts.learn, messenger.know_identity)
    return Agent(
        settings=settings,
        kafka=kafka,
        clock=parts.clock,
        sampler=sampler,
        looker=Looker(
            clock=parts.clock,
            tokens=parts.tokens,
            finder=parts.finder,
            placements=parts.placements,
            background=parts.clock.kind == "system",
        ),
        messenger=messenger,
        sink=sink,
        telemetry=telemetry,
        delivery=delivery,
        host=_host_sampler(parts, settings),
    )


def make_sink(config: Config, telemetry: Telemetry) -> Sink:
    """Return the sink that the settings name.

    Raises:
        UsageError: the [kafka] settings contradict each other.
        TokenmillError: the spool cannot be used.
    """
    settings = config.agent
    if settings.sink == "stdout":
        return LineSink.stdout()
    directory = settings.state_dir / "spool" if settings.state_dir is not None else None

    def open_spool(topic: str) -> Spool:
        return Spool(
            (directory or Path()) / topic,
            max_bytes=settings.max_spool_bytes,
            min_free_bytes=settings.min_free_disk_bytes,
            dropped=lambda count: telemetry.count("messages_dropped_total", count, reason="spool_full"),
        )

    return KafkaSink(
        config.kafka,
        telemetry=telemetry,
        max_queue_bytes=settings.max_queue_bytes,
        open_spool=open_spool if directory is not None and settings.max_spool_bytes else None,
        drain_bytes_per_second=settings.spool_drain_bytes_per_second,
    )


def _host_sampler(parts: Parts, settings: AgentSettings) -> HostSampler | None:
    if not parts.host:
        return None
    return HostSampler(
        parts.host,
        clock=parts.clock,
        sample_interval_seconds=settings.sample_interval_seconds,
        background=parts.clock.kind == "system",
    )


def _nvml_reader(settings: AgentSettings, clock: Clock, telemetry: Telemetry) -> GpuReader:
    # Only a node that reads real GPUs pays for the bindings.
    from tokenmill_agent.gpu.reader import NvmlReader  # noqa: PLC0415 - see above

    return NvmlReader(
        clock=clock,
        deadline_seconds=settings.gpu_deadline_seconds,
        count_error=lambda call, code: telemetry.count("nvml_errors_total", call=call, code=str(code)),
    )


def _since_us(text: str | None) -> int:
    now_us = SystemClock(boot_id="none").now_us()
    if text is None:
        return now_us
    try:
        since = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"[agent.simulate] since is {text!r}, expected a time such as 2026-11-24T00:00:00Z") from None
    since_us = round((since if since.tzinfo is not None else since.replace(tzinfo=UTC)).timestamp() * MICROSECONDS)
    if since_us > now_us:
        raise UsageError(f"[agent.simulate] since is {text}, which is in the future")
    return since_us
