"""Reads the GPUs of an invented node."""

from collections.abc import Mapping, Sequence
from typing import Final

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.devices import GpuDetail, GpuProcess, GpuReading
from tokenmill_agent.records import Device
from tokenmill_agent.simulated.load import PPM
from tokenmill_agent.simulated.node import DRIVER_VERSION, SimulatedNode
from tokenmill_agent.simulated.servers import processes_of

_IDLE_CLOCK_MHZ: Final = 345
_IDLE_MEMORY_BYTES: Final = 629_145_600
_COLD_CELSIUS: Final = 28
_HOT_CELSIUS: Final = 48


class SimulatedReader:
    """Gives the counters that the node's load makes, at the clock's time; nothing ever fails."""

    driver_version: Final = DRIVER_VERSION
    nvml_generation: Final = 0

    def __init__(self, node: SimulatedNode, *, clock: Clock) -> None:
        """Read nothing yet."""
        self._node = node
        self._clock = clock

    @property
    def gpu_count(self) -> int:
        """Return how many GPUs the node has."""
        return len(self._node.devices)

    def devices(self) -> Sequence[Device]:
        """Return the node's GPUs."""
        return self._node.devices

    def read(self, *, detail: bool) -> Sequence[GpuReading]:
        """Read every GPU at the same moment."""
        node, now_us, monotonic_us = self._node, self._clock.now_us(), self._clock.monotonic_us()
        return [
            GpuReading(
                gpu_uuid=gpu_uuid,
                state="ok",
                sampled_at_us=now_us,
                monotonic_us=monotonic_us,
                energy_counter_millijoules=node.energy_millijoules(index, now_us),
                power_milliwatts=node.power_milliwatts(index, now_us),
                detail=self._detail(index, now_us) if detail else None,
            )
            for index, gpu_uuid in enumerate(node.gpu_uuids)
        ]

    def processes(self) -> Mapping[str, Sequence[GpuProcess] | None]:
        """Return one invented process for each GPU that is held."""
        return processes_of(self._node)

    def close(self) -> None:
        """Let nothing go."""

    def _detail(self, index: int, now_us: int) -> GpuDetail:
        node, gpu = self._node, self._node.scenario.gpu
        held = node.replica_on(index) is not None
        load = node.load_ppm(index, now_us)
        heat = node.power_milliwatts(index, now_us) * _HOT_CELSIUS // gpu.power_limit_milliwatts
        return GpuDetail(
            sm_utilization_percent=load * 100 // PPM,
            memory_used_bytes=gpu.memory_total_bytes * 9 // 10 if held else _IDLE_MEMORY_BYTES,
            sm_clock_mhz=gpu.clock_mhz if held else _IDLE_CLOCK_MHZ,
            temperature_celsius=_COLD_CELSIUS + heat,
            power_capped_ns=0,
        )
