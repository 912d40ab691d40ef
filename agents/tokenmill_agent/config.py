"""`[agent]` of `tokenmill.toml`: what an operator may set, with its unit in its name and its default beside it."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from tokenmill_agent.errors import UsageError
from tokenmill_agent.host.settings import HostSettings
from tokenmill_agent.placement.settings import PlacementSettings
from tokenmill_agent.records import Identity
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings, nearest, read_file, section, table

GPU_SOURCES: Final = ("nvml", "none")
SINKS: Final = ("kafka", "stdout")
KUBERNETES: Final = ("auto", "on", "off")

SCENARIOS: Final = ("hopper", "blackwell")
"""Names of the simulated nodes; `simulated.scenario` describes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateSettings:
    """`[agent.simulate]`: nodes to invent instead of reading this one; every message then says simulated.

    `since` is the wall time, as in 2026-11-24T00:00:00Z, from which the invented counters count: two runs with the same
    `since` and `seed` show the same counters at the same time.
    """

    scenarios: tuple[str, ...] = ()
    seed: int = 1
    since: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be right.

        Raises:
            UsageError: a scenario that does not exist.
        """
        for scenario in self.scenarios:
            _one_of("[agent.simulate] scenarios", scenario, SCENARIOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """`[agent]`: one node's agent. Every interval is from one start to the next, whatever the work takes."""

    node: str | None = None
    gpus: str = "nvml"
    sink: str = "kafka"
    sample_interval_seconds: float = 1.0
    row_interval_seconds: float = 10.0
    send_interval_seconds: float = 10.0
    scrape_interval_seconds: float = 10.0
    placement_interval_seconds: float = 30.0
    max_power_gap_seconds: float = 3.0
    gpu_deadline_seconds: float = 2.0
    gpu_count_expected: int | None = None
    max_queue_bytes: int = 16 * 1024 * 1024
    max_close_seconds: float = 10.0
    state_dir: Path | None = None
    max_spool_bytes: int = 256 * 1024 * 1024
    min_free_disk_bytes: int = 1024 * 1024 * 1024
    spool_drain_bytes_per_second: int = 256 * 1024
    telemetry_address: str = "127.0.0.1"
    telemetry_port: int = 9477
    host: HostSettings = field(default_factory=HostSettings)
    identity: Identity = field(default_factory=Identity)
    metadata: bool = True
    kubernetes: str = "auto"
    kubernetes_labels: tuple[str, ...] = ("team", "owner", "cost-center")
    pod_resources_socket: Path = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    discover: bool = True
    servers: tuple[ServerSettings, ...] = ()
    placements: tuple[PlacementSettings, ...] = ()
    simulate: SimulateSettings = field(default_factory=SimulateSettings)

    def __post_init__(self) -> None:
        """Refuse what cannot be right.

        Raises:
            UsageError: naming the key, the value and what is allowed.
        """
        _one_of("[agent] gpus", self.gpus, GPU_SOURCES)
        _one_of("[agent] sink", self.sink, SINKS)
        _one_of("[agent] kubernetes", self.kubernetes, KUBERNETES)
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name.endswith(("_interval_seconds", "_deadline_seconds", "_gap_seconds")) and not 0 < value < 86_400:
                raise UsageError(f"[agent] {one.name} is {value}, expected more than 0 and less than 86400 seconds")
        if self.row_interval_seconds < self.sample_interval_seconds:
            raise UsageError(
                f"[agent] row_interval_seconds is {self.row_interval_seconds}, expected at least "
                f"sample_interval_seconds ({self.sample_interval_seconds}): a row holds the samples since the last one"
            )
        if self.max_power_gap_seconds < self.sample_interval_seconds:
            raise UsageError(
                f"[agent] max_power_gap_seconds is {self.max_power_gap_seconds}, expected at least "
                f"sample_interval_seconds ({self.sample_interval_seconds}): no power would be integrated"
            )
        if not 0 <= self.telemetry_port < 65_536:
            raise UsageError(f"[agent] telemetry_port is {self.telemetry_port}, expected 0 (none) to 65535")
        for name, least in (
            ("max_queue_bytes", 1),
            ("max_close_seconds", 0),
            ("max_spool_bytes", 0),
            ("min_free_disk_bytes", 0),
            ("spool_drain_bytes_per_second", 1),
        ):
            if (value := getattr(self, name)) < least:
                raise UsageError(f"[agent] {name} is {value}, expected {least} or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that the agent is told."""

    agent: AgentSettings
    kafka: KafkaSettings

    @property
    def node(self) -> str:
        """Return the node's name: configured, else the host's."""
        return self.agent.node or socket.gethostname()


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    agent_flags: Mapping[str, Any],
    kafka_flags: Mapping[str, Any],
) -> Config:
    """Read the file, the environment over it, and the flags that are not None over both.

    Raises:
        UsageError: naming the file, table or key, and what is wrong with it.
    """
    tables = read_file(path, environ=environ)
    flags = dict(agent_flags)
    simulate = {key: value for key, value in flags.pop("simulate", {}).items() if value is not None}
    if simulate:
        # A flag for one key of the table leaves its other keys be.
        in_file = table(tables, "agent").get("simulate")
        flags["simulate"] = {**in_file, **simulate} if isinstance(in_file, Mapping) else simulate
    return Config(
        agent=section(AgentSettings, "agent", tables, environ=environ, flags=flags),
        kafka=section(KafkaSettings, "kafka", tables, environ=environ, flags=kafka_flags),
    )


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{where} is {value!r}, expected {' or '.join(known)}{nearest(value, known)}")
