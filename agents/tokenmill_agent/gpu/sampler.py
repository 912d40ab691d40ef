"""Turns readings of GPUs into the rows of a message: counters as they are, power integrated and averaged."""

import dataclasses
from collections.abc import Callable
from typing import Final

from tokenmill_agent.gpu.devices import GpuDetail, GpuReader, GpuReading
from tokenmill_agent.gpu.energy import EnergyIntegrator
from tokenmill_agent.records import Device, GpuSamples

POWER_LIMIT_FACTOR: Final = 1.2
"""A reading above this times the board's limit is no reading."""

_NO_DETAIL: Final = GpuDetail()


@dataclasses.dataclass(slots=True, kw_only=True)
class GpuBatch:
    """Rows of one time in which NVML was not initialised anew, and the GPUs that they are of."""

    driver_version: str | None
    nvml_generation: int
    devices: list[Device] = dataclasses.field(default_factory=list)
    samples: GpuSamples = dataclasses.field(default_factory=GpuSamples)


class GpuSampler:
    """Reads all GPUs, keeps one meter for each, and collects rows until they are taken."""

    def __init__(self, reader: GpuReader, *, max_gap_us: int, seen: Callable[[GpuReading], None]) -> None:
        """Read nothing yet; `seen` is told of every reading."""
        self._reader = reader
        self._max_gap_us = max_gap_us
        self._seen = seen
        self._meters: dict[str, _Meter] = {}
        self._devices: dict[str, Device] = {}
        self._index: dict[str, int] = {}
        self._batches: list[GpuBatch] = []

    @property
    def reader(self) -> GpuReader:
        """Return what reads the GPUs."""
        return self._reader

    def sample(self, *, row: bool) -> None:
        """Read every GPU once, and with `row` add one row for each.

        Raises:
            RestartNeededError: the reader cannot go on in this process.
        """
        readings = self._reader.read(detail=row)
        if row:
            self._devices.update((device.gpu_uuid, device) for device in self._reader.devices())
        for reading in readings:
            meter = self._meters.get(reading.gpu_uuid)
            if meter is None:
                meter = self._meters[reading.gpu_uuid] = _Meter(self._max_gap_us)
            meter.add(reading, self._limit_milliwatts(reading.gpu_uuid))
            self._seen(reading)
        if row and readings:
            batch = self._batch()
            for reading in readings:
                self._meters[reading.gpu_uuid].add_row(batch.samples, self._device_index(reading.gpu_uuid), reading)

    def take(self) -> list[GpuBatch]:
        """Return the rows since the last call, none where there were none."""
        batches, self._batches = self._batches, []
        for batch in batches:
            batch.devices.extend(self._devices[uuid] for uuid in self._index)
        return batches

    def _batch(self) -> GpuBatch:
        reader = self._reader
        if not self._batches or self._batches[-1].nvml_generation != reader.nvml_generation:
            self._batches.append(GpuBatch(driver_version=reader.driver_version, nvml_generation=reader.nvml_generation))
        return self._batches[-1]

    def _device_index(self, gpu_uuid: str) -> int:
        return self._index.setdefault(gpu_uuid, len(self._index))

    def _limit_milliwatts(self, gpu_uuid: str) -> float | None:
        device = self._devices.get(gpu_uuid)
        limit = device.power_limit_milliwatts if device is not None else None
        return limit * POWER_LIMIT_FACTOR if limit else None


class _Meter:
    """What is kept of one GPU between its rows."""

    def __init__(self, max_gap_us: int) -> None:
        self._integrator = EnergyIntegrator(max_gap_us=max_gap_us)
        self._mark = self._integrator.mark()
        self._max_milliwatts: int | None = None
        self._last_milliwatts: int | None = None
        self._absurd = False

    def add(self, reading: GpuReading, limit_milliwatts: float | None) -> None:
        power = reading.power_milliwatts
        if power is not None and limit_milliwatts is not None and power > limit_milliwatts:
            self._absurd, power = True, None
        self._integrator.add(reading.monotonic_us, power)
        self._last_milliwatts = power
        if power is not None:
            self._max_milliwatts = power if self._max_milliwatts is None else max(power, self._max_milliwatts)

    def add_row(self, samples: GpuSamples, device: int, reading: GpuReading) -> None:
        integrator = self._integrator
        mean = integrator.mean_milliwatts_since(*self._mark)
        detail = reading.detail or _NO_DETAIL
        reasons = (*reading.reasons, "power_absurd") if self._absurd else reading.reasons
        samples.device.append(device)
        samples.sampled_at_us.append(reading.sampled_at_us)
        samples.monotonic_us.append(reading.monotonic_us)
        samples.energy_counter_millijoules.append(reading.energy_counter_millijoules)
        samples.energy_integrated_millijoules.append(integrator.energy_millijoules)
        samples.integrated_us.append(integrator.covered_us)
        # Before any time has passed there is the reading alone, which is itself the mean of about a second.
        samples.power_mean_milliwatts.append(mean if mean is not None else self._last_milliwatts)
        samples.power_max_milliwatts.append(self._max_milliwatts)
        samples.sm_utilization_percent.append(detail.sm_utilization_percent)
        samples.memory_used_bytes.append(detail.memory_used_bytes)
        samples.sm_clock_mhz.append(detail.sm_clock_mhz)
        samples.temperature_celsius.append(detail.temperature_celsius)
        samples.power_capped_ns.append(detail.power_capped_ns)
        samples.reason.append(",".join(reasons) or None)
        self._mark, self._max_milliwatts, self._absurd = integrator.mark(), None, False
