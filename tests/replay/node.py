"""One node as the agent sees it: the agent's own parts around GPUs that the replay plays."""

import dataclasses
from collections.abc import Mapping, Sequence

from tokenmill_agent.assembly import Parts, make_agent
from tokenmill_agent.clock import Clock
from tokenmill_agent.config import AgentSettings
from tokenmill_agent.gpu.devices import GpuProcess, GpuReading
from tokenmill_agent.loop import Agent
from tokenmill_agent.placement.placer import Placer
from tokenmill_agent.records import Device, Identity
from tokenmill_agent.servers.scrape import TokenWatcher
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import Sink
from tokenmill_agent.telemetry import Telemetry

GPU_NAME = "NVIDIA H100 80GB HBM3"
POWER_MILLIWATTS = 500_000
MEMORY_BYTES = 80 * 2**30
MODEL_BYTES = 60 * 2**30
DRIVER = "replay"


class PlayedGpus:
    """GPUs of constant power, of which `holders` says whose process computes on which."""

    def __init__(self, gpu_uuids: Sequence[str], *, clock: Clock) -> None:
        """Take the UUIDs; nobody holds any of them."""
        self.holders: dict[str, int | None] = dict.fromkeys(gpu_uuids)
        self._clock = clock

    driver_version = DRIVER
    nvml_generation = 0

    @property
    def gpu_count(self) -> int:
        """Return how many there are."""
        return len(self.holders)

    def devices(self) -> Sequence[Device]:
        """Return all of them, in order."""
        return [_device(uuid) for uuid in self.holders]

    def read(self, *, detail: bool) -> Sequence[GpuReading]:  # noqa: ARG002 - there is no detail to read
        """Read each; the counter has counted since the node's boot."""
        now_us, monotonic_us = self._clock.now_us(), self._clock.monotonic_us()
        return [
            GpuReading(
                gpu_uuid=uuid,
                state="ok",
                sampled_at_us=now_us,
                monotonic_us=monotonic_us,
                energy_counter_millijoules=POWER_MILLIWATTS * monotonic_us // 1_000_000,
                power_milliwatts=POWER_MILLIWATTS,
            )
            for uuid in self.holders
        ]

    def processes(self) -> Mapping[str, Sequence[GpuProcess]]:
        """Return the process on each GPU, if there is one."""
        return {
            uuid: [GpuProcess(pid=pid, used_memory_bytes=MODEL_BYTES, mig_uuid=None)] if pid is not None else []
            for uuid, pid in self.holders.items()
        }

    def close(self) -> None:
        """Let nothing go."""


def _device(uuid: str) -> Device:
    return Device(
        gpu_uuid=uuid,
        name=GPU_NAME,
        architecture=9,
        compute_capability="9.0",
        pci_device_id="2330",
        pci_subsystem_id="16C110DE",
        memory_total_bytes=MEMORY_BYTES,
        power_limit_milliwatts=700_000,
        mig_enabled=False,
        state="ok",
        energy_scope="gpu",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node's agent, put together; `agent.once()` reads, looks and sends everything once."""

    agent: Agent
    gpus: PlayedGpus


def make_node(
    name: str,
    servers: Sequence[ServerSettings],
    *,
    clock: Clock,
    kafka: KafkaSettings,
    sink: Sink,
    interval_seconds: float = 1.0,
) -> Node:
    """Return the agent of a simulated node `name` with one GPU for each of `servers`, in their order.

    On a driven clock its messages say that they are replayed, on the system's that they are live.
    """
    settings = AgentSettings(
        node=name,
        servers=tuple(servers),
        sample_interval_seconds=interval_seconds,
        row_interval_seconds=interval_seconds,
        scrape_interval_seconds=interval_seconds,
        placement_interval_seconds=interval_seconds,
        send_interval_seconds=interval_seconds,
    )
    gpus = PlayedGpus([f"GPU-{name}-{index}" for index in range(len(servers))], clock=clock)
    parts = Parts(
        node=name,
        identity=Identity(provider="replay", account="replay", cluster="replay"),
        clock=clock,
        reader=gpus,
        tokens=TokenWatcher(settings.servers, node=name, clock=clock),
        placements=Placer((), clock=clock),
        simulated=True,
    )
    agent = make_agent(
        parts,
        settings=settings,
        kafka=kafka,
        sink=sink,
        telemetry=Telemetry(),
        delivery="replayed" if clock.kind == "driven" else "live",
    )
    return Node(agent=agent, gpus=gpus)
