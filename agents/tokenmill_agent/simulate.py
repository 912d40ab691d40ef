"""Sends the history of invented nodes: the agent's own loop on a driven clock, as fast as it runs."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tokenmill_agent.assembly import make_agent, simulated_parts
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.config import AgentSettings
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.simulated.node import SimulatedNode
from tokenmill_agent.simulated.scenario import SCENARIOS
from tokenmill_agent.sink import Delivery, Sink
from tokenmill_agent.telemetry import Telemetry

__all__ = ["HISTORY_SETTINGS", "SCENARIOS", "HistoryCounts", "SimulatedNode", "Truth", "history", "truth"]

HISTORY_SETTINGS: Final = AgentSettings(
    sample_interval_seconds=10.0,
    row_interval_seconds=10.0,
    scrape_interval_seconds=10.0,
    placement_interval_seconds=30.0,
    send_interval_seconds=300.0,
    max_power_gap_seconds=30.0,
)
"""Power is read as often as rows are made: the invented power is linear in between, so the integral stays exact."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCounts:
    """What a history held; `bytes` are before compression."""

    messages: int
    bytes: int
    gpu_rows: int
    token_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What one deployment of an invented node did between two moments: to compare with what a pipeline makes of it."""

    node: str
    deployment: str
    model: str
    gpu_count: int
    input_tokens: int
    output_tokens: int
    energy_millijoules: int


def history(
    nodes: Sequence[SimulatedNode],
    start_us: int,
    end_us: int,
    sink: Sink,
    *,
    settings: AgentSettings = HISTORY_SETTINGS,
    kafka: KafkaSettings | None = None,
    progress: Progress = lambda _node, _share: None,
) -> HistoryCounts:
    """Let an agent of each node, one after the other, live from `start_us` to `end_us`, both included.

    Wall times are in microseconds since 1970; `start_us` is not before the node's `since_us`. The sink is left open:
    one that sends over a network is to be made to wait when it is full, since history is faster than any network.
    `progress` is called now and then with a node's name and its share that is done, 0 to 1.

    Raises:
        TokenmillError: the sink cannot go on.
    """
    counter = _CountingSink(sink, lambda: None)
    telemetry = Telemetry()
    for node in nodes:
        # A node's clock shows the same time since its boot in its history and when it goes live.
        clock = DrivenClock(
            start_us, monotonic_us=start_us - node.booted_at_us, boot_id=node.boot_id, auto_advance=True
        )
        counter.sent = _tell(node.name, clock, start_us, end_us, progress)
        agent = make_agent(
            simulated_parts(node, clock),
            settings=settings,
            kafka=kafka or KafkaSettings(),
            sink=counter,
            telemetry=telemetry,
            delivery="replayed",
        )
        agent.run(threading.Event(), until_monotonic_us=end_us - node.booted_at_us)
        progress(node.name, 1.0)
    return HistoryCounts(
        messages=counter.messages,
        bytes=counter.bytes,
        gpu_rows=round(telemetry.value("gpu_readings_total", state="ok")),
        token_rows=round(telemetry.value("token_samples_total", reason="")),
    )


def truth(node: SimulatedNode, start_us: int, end_us: int) -> list[Truth]:
    """Return what each deployment of a node counted between two wall times, idle GPUs as deployment `(idle)`."""
    found: dict[tuple[str, str], list[int]] = {}
    for replica in node.replicas:
        sums = found.setdefault((replica.deployment.name, replica.deployment.model), [0, 0, 0, 0])
        before, after = node.tokens(replica, start_us), node.tokens(replica, end_us)
        sums[0] += after[0] - before[0]
        sums[1] += after[1] - before[1]
    for gpu in range(len(node.gpu_uuids)):
        held = node.replica_on(gpu)
        key = (held.deployment.name, held.deployment.model) if held is not None else ("(idle)", "(idle)")
        sums = found.setdefault(key, [0, 0, 0, 0])
        sums[2] += node.energy_millijoules(gpu, end_us) - node.energy_millijoules(gpu, start_us)
        sums[3] += 1
    return [
        Truth(
            node=node.name,
            deployment=deployment,
            model=model,
            input_tokens=sums[0],
            output_tokens=sums[1],
            energy_millijoules=sums[2],
            gpu_count=sums[3],
        )
        for (deployment, model), sums in found.items()
    ]


class _CountingSink:
    """Passes messages on and counts them."""

    def __init__(self, sink: Sink, sent: Callable[[], None]) -> None:
        self.messages = 0
        self.bytes = 0
        self.sent = sent
        self._sink = sink

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:
        self._sink.send(topic, key, value, delivery)
        self.messages += 1
        self.bytes += len(value)
        self.sent()

    def close(self, timeout_seconds: float) -> int:
        return self._sink.close(timeout_seconds)


def _tell(node: str, clock: DrivenClock, start_us: int, end_us: int, progress: Progress) -> Callable[[], None]:
    return lambda: progress(node, (clock.now_us() - start_us) / max(1, end_us - start_us))
