"""All GPUs of this node: each read in a thread of its own, so that one that hangs or is lost leaves the others be."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

from tokenmill_agent.clock import Clock
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.gpu.devices import DeviceState, GpuProcess, GpuReading, RestartNeededError
from tokenmill_agent.gpu.fields import Answer, FieldPlan, Source
from tokenmill_agent.gpu.nvml import CountError, NvmlGpu, initialise, shutdown
from tokenmill_agent.gpu.watchdog import Watchdog
from tokenmill_agent.records import Device

T = TypeVar("T")

OPEN_DEADLINE_SECONDS: Final = 60.0
"""A GPU that nobody holds open takes 1 to 3 s to come up, and a node has up to 16."""

RETRY_SECONDS: Final = 10.0
"""After this long a lost GPU is looked for again, then after twice as long, up to the maximum."""

RETRY_SECONDS_MAX: Final = 320.0

SILENT_SECONDS_MAX: Final = 60.0
"""After this long without one GPU that answers, a new process is the only thing left to try."""

_SILENT_REASONS: Final = frozenset({"gpu_hung", "gpu_access_refused", "gpu_unknown_error"})

_log = logging.getLogger(__name__)


def _ignore(_call: str, _code: int) -> None:
    """Count nothing."""


class NvmlReader:
    """Reads energy, power and processes of every GPU. One thread calls it; every call ends within the deadline."""

    def __init__(self, *, clock: Clock, deadline_seconds: float = 2.0, count_error: CountError = _ignore) -> None:
        """Initialise NVML and open every GPU.

        Raises:
            TokenmillError: there is no driver, or it does not let itself be used; the text says what to do.
            RestartNeededError: the driver was changed under the library, or hangs.
        """
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._count_error = count_error
        self._main: Watchdog[Any] = Watchdog("nvml")
        self._generation = 0
        self._silent_since: float | None = None
        self._retry_at = 0.0
        self._driver_version, self._slots = self._start()

    @property
    def driver_version(self) -> str | None:
        """Return the driver's version, None where it cannot be asked."""
        return self._driver_version

    @property
    def nvml_generation(self) -> int:
        """Return how often NVML was initialised anew in this run."""
        return self._generation

    @property
    def gpu_count(self) -> int:
        """Return how many GPUs NVML counts, those included that never answered."""
        return len(self._slots)

    def devices(self) -> Sequence[Device]:
        """Return every GPU that could be named, in NVML's order."""
        return [
            dataclasses.replace(device, state=slot.state)
            for slot in self._slots
            if (device := slot.gpu.device) is not None
        ]

    def probed(self) -> Mapping[str, tuple[FieldPlan, Mapping[Source, Answer]]]:
        """Return, by UUID, what is read of each GPU and what every probed field and call answered."""
        return {
            gpu.device.gpu_uuid: (gpu.plan, gpu.answers)
            for gpu in (slot.gpu for slot in self._slots)
            if gpu.device is not None and gpu.plan is not None
        }

    def read(self, *, detail: bool) -> Sequence[GpuReading]:
        """Read energy and power of every GPU, and with `detail` the rest.

        Raises:
            RestartNeededError: the driver was changed under the library, or no GPU has answered for a minute.
        """
        found = self._ask_all(lambda gpu: partial(gpu.read, detail=detail))
        readings = []
        for slot, reading in zip(self._slots, found, strict=True):
            device = slot.gpu.device
            if device is not None:
                readings.append(reading or self._hung(device.gpu_uuid))
                slot.take(readings[-1].state)
        self._give_up_if_silent(readings)
        self._retry(driver_gone=any("driver_not_loaded" in reading.reasons for reading in readings))
        return readings

    def processes(self) -> Mapping[str, Sequence[GpuProcess] | None]:
        """Return the processes on each GPU by its UUID; None where they could not be asked."""
        found = self._ask_all(lambda gpu: gpu.processes)
        return {
            device.gpu_uuid: processes
            for slot, processes in zip(self._slots, found, strict=True)
            if (device := slot.gpu.device) is not None
        }

    def close(self) -> None:
        """Let the driver go; a thread that hangs in it is left to the end of the process."""
        for slot in self._slots:
            slot.watchdog.close()
        if not any(slot.watchdog.hangs for slot in self._slots):
            self._wait(self._main.start(shutdown), self._deadline_seconds)
        self._main.close()

    def _start(self) -> tuple[str | None, list["_Slot"]]:
        started = self._wait(self._main.start(initialise), OPEN_DEADLINE_SECONDS)
        if started is None:
            raise RestartNeededError(
                f"the NVIDIA driver did not answer within {OPEN_DEADLINE_SECONDS:.0f} s; see `dmesg` for Xid errors"
            )
        driver_version, count = started
        slots = [_Slot(NvmlGpu(index, clock=self._clock, count_error=self._count_error)) for index in range(count)]
        self._open(slots, OPEN_DEADLINE_SECONDS)
        return driver_version, slots

    def _open(self, slots: Sequence["_Slot"], deadline_seconds: float) -> None:
        deadline = monotonic() + deadline_seconds
        for slot, future in [(slot, slot.watchdog.start(slot.gpu.open)) for slot in slots]:
            slot.retry_later()
            if not self._wait(future, deadline - monotonic()):
                _log.warning("GPU %d does not open, it is tried again", slot.gpu.index)

    def _ask_all(self, job: Callable[[NvmlGpu], Callable[[], T]]) -> list[T | None]:
        """Run one job per GPU, all at the same time; None where it hangs."""
        deadline = monotonic() + self._deadline_seconds
        started = [slot.watchdog.start(job(slot.gpu)) for slot in self._slots]
        return [self._wait(future, deadline - monotonic()) for future in started]

    @staticmethod
    def _wait(future: "Future[T] | None", seconds: float) -> T | None:
        if future is None:
            return None
        try:
            return future.result(timeout=max(0.0, seconds))
        except TimeoutError:
            return None

    def _hung(self, gpu_uuid: str) -> GpuReading:
        return GpuReading(
            gpu_uuid=gpu_uuid,
            state="hung",
            sampled_at_us=self._clock.now_us(),
            monotonic_us=self._clock.monotonic_us(),
            reasons=("gpu_hung",),
        )

    def _give_up_if_silent(self, readings: Sequence[GpuReading]) -> None:
        if not readings or any(_SILENT_REASONS.isdisjoint(reading.reasons) for reading in readings):
            self._silent_since = None
            return
        self._silent_since = self._silent_since or monotonic()
        if monotonic() - self._silent_since > SILENT_SECONDS_MAX:
            raise RestartNeededError(
                f"no GPU has answered for {SILENT_SECONDS_MAX:.0f} s ({readings[0].reasons[0]}): the agent ends so "
                "that its supervisor starts it anew; see `dmesg` for Xid errors"
            )

    def _retry(self, *, driver_gone: bool) -> None:
        """Look again for GPUs that are lost or never opened; initialise NVML anew where the driver went away."""
        if driver_gone:
            if monotonic() >= self._retry_at and not any(slot.watchdog.hangs for slot in self._slots):
                self._retry_at = monotonic() + RETRY_SECONDS
                self._start_again()
            return
        due = [slot for slot in self._slots if slot.is_due()]
        if due:
            self._open(due, self._deadline_seconds)

    def _start_again(self) -> None:
        self._wait(self._main.start(shutdown), self._deadline_seconds)
        try:
            driver_version, slots = self._start()
        except RestartNeededError:
            raise
        except TokenmillError as error:
            _log.warning("the driver is not back yet: %s", error)
            return
        for slot in self._slots:
            slot.watchdog.close()
        self._driver_version, self._slots = driver_version, slots
        self._generation += 1


class _Slot:
    """One GPU, its thread, and what the reader knows of its state."""

    def __init__(self, gpu: NvmlGpu) -> None:
        self.gpu = gpu
        self.watchdog: Watchdog[Any] = Watchdog(f"gpu-{gpu.index}")
        self.state: DeviceState = "ok"
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS

    def take(self, state: DeviceState) -> None:
        """Remember what a reading found and say what changed."""
        if state == self.state:
            return
        _log.warning("GPU %d is %s", self.gpu.index, state)
        self.state = state
        if state == "ok":
            self._retry_seconds = RETRY_SECONDS
        else:
            self.retry_later()

    def is_due(self) -> bool:
        """Say whether the GPU is to be opened again now."""
        missing = self.state == "lost" or self.gpu.device is None
        return missing and not self.watchdog.hangs and monotonic() >= self._retry_at

    def retry_later(self) -> None:
        """Put off the next try, each time by twice as long."""
        self._retry_at = monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)
