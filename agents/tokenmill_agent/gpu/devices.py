"""What one look at the GPUs of a node gives, whoever reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.records import Device

DeviceState = Literal["ok", "lost", "hung"]


class RestartNeededError(TokenmillError):
    """Only a new process can read the GPUs again; the supervisor restarts the agent on this exit code (EX_TEMPFAIL)."""

    exit_code = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that computes on a GPU; `mig_uuid` names the MIG instance that it holds, None on a whole GPU."""

    pid: int
    used_memory_bytes: int | None
    mig_uuid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDetail:
    """What is read at the row interval only, since it is slower to ask and slower to change."""

    sm_utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    sm_clock_mhz: int | None = None
    temperature_celsius: int | None = None
    power_capped_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One reading of one GPU. `reasons` says why a value is missing: `gpu_lost`, `energy_not_supported` and so on."""

    gpu_uuid: str
    state: DeviceState
    sampled_at_us: int
    monotonic_us: int
    energy_counter_millijoules: int | None = None
    power_milliwatts: int | None = None
    detail: GpuDetail | None = None
    reasons: tuple[str, ...] = ()


class GpuReader(Protocol):
    """Reads all GPUs of one node. No call blocks longer than the reader's deadline, whatever one GPU does."""

    @property
    def driver_version(self) -> str | None:
        """Return the driver's version, None where it cannot be asked."""
        ...

    @property
    def nvml_generation(self) -> int:
        """Return how often the driver was initialised anew in this run."""
        ...

    @property
    def gpu_count(self) -> int:
        """Return how many GPUs the driver says there are, those included that never answered."""
        ...

    def devices(self) -> Sequence[Device]:
        """Return every GPU that was found, also those that are lost by now."""
        ...

    def read(self, *, detail: bool) -> Sequence[GpuReading]:
        """Read energy and power of every GPU, and with `detail` the rest.

        Raises:
            RestartNeededError: only a new process can go on.
        """
        ...

    def processes(self) -> Mapping[str, Sequence[GpuProcess] | None]:
        """Return the processes on each GPU by its UUID; None where they could not be asked."""
        ...

    def close(self) -> None:
        """Let the driver go."""
        ...
