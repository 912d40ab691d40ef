"""What the agent says of itself, on a Prometheus port of its own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, start_http_server

from tokenmill_agent.errors import TokenmillError

PREFIX: Final = "tokenmill_agent_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: its name without the prefix, what it counts, and the labels that split it."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: Sequence[str] = ()


METRICS: Final = (
    Metric(name="info", kind="gauge", help="1, with who this is.", labels=("node", "version", "run_id")),
    Metric(name="gpus", kind="gauge", help="GPUs by state, as last read.", labels=("state",)),
    Metric(name="gpu_readings_total", kind="counter", help="Readings of one GPU by state.", labels=("state",)),
    Metric(name="nvml_errors_total", kind="counter", help="NVML calls that failed.", labels=("call", "code")),
    Metric(
        name="token_samples_total",
        kind="counter",
        help="Rows of token counters; the reason says why values are missing, empty where none are.",
        labels=("reason",),
    ),
    Metric(name="servers_failing", kind="gauge", help="Servers whose last look failed."),
    Metric(
        name="last_sample_timestamp_seconds",
        kind="gauge",
        help="Wall time of the last sample, in seconds since 1970.",
        labels=("kind",),
    ),
    Metric(
        name="ticks_missed_total",
        kind="counter",
        help="Times that a job was due and did not run, since the one before took too long.",
        labels=("job",),
    ),
    Metric(name="job_errors_total", kind="counter", help="Times that a job failed.", labels=("job",)),
    Metric(name="messages_total", kind="counter", help="Messages made.", labels=("kind",)),
    Metric(name="messages_delivered_total", kind="counter", help="Messages that the sink acknowledged."),
    Metric(name="delivered_bytes_total", kind="counter", help="Their bytes before compression."),
    Metric(
        name="messages_dropped_total",
        kind="counter",
        help="Messages that were given up: queue_full, spool_full, refused, unsent_at_end.",
        labels=("reason",),
    ),
    Metric(
        name="sink_errors_total",
        kind="counter",
        help="Failed tries to deliver, by the error's name; the message is tried again.",
        labels=("error",),
    ),
    Metric(name="queue_messages", kind="gauge", help="Messages made and not yet acknowledged."),
    Metric(name="queue_bytes", kind="gauge", help="Their bytes before compression."),
    Metric(name="messages_spooled_total", kind="counter", help="Messages put on disk since Kafka did not take them."),
    Metric(name="spool_messages", kind="gauge", help="Messages that wait on disk."),
    Metric(name="spool_bytes", kind="gauge", help="Bytes of the spool on disk."),
    Metric(name="state_errors_total", kind="counter", help="Times that the state file could not be written."),
)
"""Every metric, the process's own memory and CPU beside it."""


class Telemetry:
    """Counters and gauges by name; nothing is served before `serve`."""

    def __init__(self) -> None:
        """Set every metric up in a registry of its own."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        kinds = {"counter": Counter, "gauge": Gauge}
        self._metrics: dict[str, Any] = {
            metric.name: kinds[metric.kind](PREFIX + metric.name, metric.help, metric.labels, registry=self.registry)
            for metric in METRICS
        }

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._child(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(name, labels).set(value)

    def follow(self, name: str, read: Callable[[], float]) -> None:
        """Let a gauge read its value when it is asked for."""
        self._metrics[name].set_function(read)

    def value(self, name: str, **labels: str) -> float:
        """Return what a metric shows now, 0 before it was ever touched."""
        found = self.registry.get_sample_value(PREFIX + name, labels)
        return 0.0 if found is None or math.isnan(found) else found

    def serve(self, address: str, port: int) -> Callable[[], None]:
        """Serve the page on `address`:`port`, and return how to stop; port 0 serves nothing.

        Raises:
            TokenmillError: the port cannot be used.
        """
        if port == 0:
            return lambda: None
        try:
            server, thread = start_http_server(port, addr=address, registry=self.registry)
        except (OSError, OverflowError) as error:
            raise TokenmillError(
                f"[agent] telemetry_port: cannot listen on {address}:{port}: {error}; "
                "choose another port, or 0 for none"
            ) from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    def _child(self, name: str, labels: dict[str, str]) -> Any:
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric
