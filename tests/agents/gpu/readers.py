"""A GPU reader that a test scripts, reading by reading."""

from collections.abc import Callable, Mapping, Sequence

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.devices import GpuDetail, GpuProcess, GpuReading
from tokenmill_agent.records import Device


def device(gpu_uuid: str, *, limit_milliwatts: int | None = 700_000) -> Device:
    """Return a GPU of that name."""
    return Device(
        gpu_uuid=gpu_uuid,
        name="NVIDIA H200",
        architecture=9,
        compute_capability="9.0",
        pci_device_id="2335",
        pci_subsystem_id="18be",
        memory_total_bytes=100,
        power_limit_milliwatts=limit_milliwatts,
        mig_enabled=False,
        state="ok",
        energy_scope="gpu",
    )


class ScriptedReader:
    """GPUs that show what the test sets: `power` and `energy` by UUID, `reasons` where something is missing."""

    driver_version: str | None = "580.1"

    def __init__(self, clock: Clock, *gpu_uuids: str) -> None:
        self.nvml_generation = 0
        self.power: dict[str, int | None] = dict.fromkeys(gpu_uuids, 100_000)
        self.energy: dict[str, int | None] = dict.fromkeys(gpu_uuids, 0)
        self.reasons: dict[str, tuple[str, ...]] = {}
        self.on_gpu: dict[str, list[GpuProcess] | None] = {gpu_uuid: [] for gpu_uuid in gpu_uuids}
        self.reads: list[bool] = []
        self.before_read: Callable[[], None] = lambda: None
        self.closed = False
        self._clock = clock

    @property
    def gpu_count(self) -> int:
        """Return how many GPUs there are."""
        return len(self.power)

    def devices(self) -> Sequence[Device]:
        """Return every GPU."""
        return [device(gpu_uuid) for gpu_uuid in self.power]

    def read(self, *, detail: bool) -> Sequence[GpuReading]:
        """Return what the test set."""
        self.before_read()
        self.reads.append(detail)
        return [
            GpuReading(
                gpu_uuid=gpu_uuid,
                state="ok",
                sampled_at_us=self._clock.now_us(),
                monotonic_us=self._clock.monotonic_us(),
                energy_counter_millijoules=self.energy[gpu_uuid],
                power_milliwatts=power,
                detail=GpuDetail(sm_utilization_percent=50) if detail else None,
                reasons=self.reasons.get(gpu_uuid, ()),
            )
            for gpu_uuid, power in self.power.items()
        ]

    def processes(self) -> Mapping[str, Sequence[GpuProcess] | None]:
        """Return what the test set."""
        return self.on_gpu

    def close(self) -> None:
        """Remember it."""
        self.closed = True
