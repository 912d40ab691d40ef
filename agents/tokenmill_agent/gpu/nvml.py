"""Reads one GPU through NVML; the only caller of pynvml."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import pynvml

from tokenmill_agent.clock import Clock
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.gpu import fields
from tokenmill_agent.gpu.devices import GpuDetail, GpuProcess, GpuReading, RestartNeededError
from tokenmill_agent.gpu.fields import Answer, Field, FieldPlan, Source
from tokenmill_agent.records import Device

T = TypeVar("T")

CountError = Callable[[str, int], None]
"""Called with the name of a call or field and NVML's code, for every failure."""

_INT64_MAX: Final = 2**63 - 1
_NOT_FOUND: Final = 6
_MIG_ENABLED: Final = 1
_LIBRARY_NOT_FOUND: Final = 12
_LIB_RM_VERSION_MISMATCH: Final = 18
_MISMATCH: Final = (
    "the NVIDIA driver was changed under its library (libnvidia-ml.so.1): the agent ends so that its supervisor starts "
    "it anew; if that does not help, reload the driver or reboot the node"
)

_START_ERRORS: Final = {
    4: "this user may not use the GPUs: run the agent as root or give it access to /dev/nvidia*",
    9: "the NVIDIA driver is installed but not loaded: load it (`modprobe nvidia`), or try with --simulate hopper",
    _LIBRARY_NOT_FOUND: "no NVIDIA driver found (libnvidia-ml.so.1): install the driver, in a container give it the "
    'driver\'s libraries, set gpus = "none" on a node without GPUs, or try with --simulate hopper',
    17: "the operating system refuses access to the GPUs: start the container anew, or give it /dev/nvidia*",
    999: "NVML fails for an unknown reason: start the container anew, or see `dmesg` for Xid errors",
}
_REASONS: Final = {
    2: "not_supported",
    3: "not_supported",
    4: "no_permission",
    10: "timeout",
    13: "not_supported",
    21: "no_data",
    25: "not_supported",
    27: "not_ready",
}
_LOST: Final = {
    1: "driver_not_loaded",
    9: "driver_not_loaded",
    15: "gpu_lost",
    16: "gpu_reset_required",
    17: "gpu_access_refused",
    _LIB_RM_VERSION_MISMATCH: "driver_changed",
    28: "gpu_not_found",
    999: "gpu_unknown_error",
}
"""Codes after which nothing else of that GPU can be read, and the reason that stands in its rows."""


def initialise() -> tuple[str | None, int]:
    """Initialise NVML; return the driver's version and how many GPUs there are.

    Raises:
        TokenmillError: there is no driver, or it does not let itself be used; the text says what to do.
        RestartNeededError: the library is not the driver's, and a process keeps the library that it loaded.
    """
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        if error.value == _LIB_RM_VERSION_MISMATCH:
            raise RestartNeededError(_MISMATCH) from error
        known = _START_ERRORS.get(error.value)
        raise TokenmillError(known or f"NVML cannot be initialised: {error} (code {error.value})") from error
    try:
        return str(pynvml.nvmlSystemGetDriverVersion()), count
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None, count


def shutdown() -> None:
    """Let the driver go."""
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        # It is gone already, which is what was wanted.
        return


class NvmlGpu:
    """One GPU. One thread at a time calls it, and any call may hang as long as the driver does."""

    def __init__(self, index: int, *, clock: Clock, count_error: CountError) -> None:
        """Name the GPU by NVML's index; nothing is asked before `open`."""
        self.index = index
        self.device: Device | None = None
        self.plan: FieldPlan | None = None
        self.answers: dict[Source, Answer] = {}
        self._clock = clock
        self._count_error = count_error
        self._handle: Any = None
        self._silent: set[str] = set()

    def open(self) -> bool:
        """Find the GPU, probe what it answers and describe it; False where it does not answer.

        Raises:
            RestartNeededError: the driver was changed under the library.
        """
        try:
            # Indices move when a GPU comes back; its UUID does not.
            known = self.device
            self._handle = (
                pynvml.nvmlDeviceGetHandleByIndex(self.index)
                if known is None
                else pynvml.nvmlDeviceGetHandleByUUID(known.gpu_uuid)
            )
            uuid = str(pynvml.nvmlDeviceGetUUID(self._handle))
            self._silent.clear()
            self.answers = self._probe()
        except pynvml.NVMLError as error:
            self._count("open", error.value)
            return False
        except UnicodeDecodeError:
            return False
        name = self._optional("nvmlDeviceGetName", lambda: str(pynvml.nvmlDeviceGetName(self._handle)))
        self.plan = fields.choose(self.answers, name)
        self.device = self._describe(uuid, name, self.plan)
        return True

    def read(self, *, detail: bool) -> GpuReading | None:
        """Read the GPU; None before it was opened.

        Raises:
            RestartNeededError: the driver was changed under the library.
        """
        if self.device is None or self.plan is None:
            return None
        try:
            values = self._fields(self.plan.batch(detail=detail))
            energy, no_energy = self._value("energy", self.plan.energy, values)
            sampled_at_us, monotonic_us = self._clock.now_us(), self._clock.monotonic_us()
            power, no_power = self._value("power", self.plan.power, values)
        except pynvml.NVMLError as error:
            return self._lost(self.device.gpu_uuid, error.value)
        if detail:
            self._take_limit(values)
        return GpuReading(
            gpu_uuid=self.device.gpu_uuid,
            state="ok",
            sampled_at_us=sampled_at_us,
            monotonic_us=monotonic_us,
            energy_counter_millijoules=energy,
            power_milliwatts=power,
            detail=self._detail(values) if detail else None,
            reasons=tuple(reason for reason in (no_energy, no_power) if reason is not None),
        )

    def processes(self) -> tuple[GpuProcess, ...] | None:
        """Return what computes on the GPU or on its MIG instances; None where that cannot be asked.

        Raises:
            RestartNeededError: the driver was changed under the library.
        """
        if self.device is None:
            return None
        mig_enabled = self._mig_enabled()
        self.device = dataclasses.replace(self.device, mig_enabled=mig_enabled)
        try:
            holders = self._mig_handles() if mig_enabled else [(self._handle, None)]
            return tuple(process for handle, mig_uuid in holders for process in _processes(handle, mig_uuid))
        except pynvml.NVMLError as error:
            self._count("nvmlDeviceGetComputeRunningProcesses", error.value)
            return None
        except UnicodeDecodeError:
            return None

    def _mig_handles(self) -> list[tuple[Any, str | None]]:
        handles: list[tuple[Any, str | None]] = []
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(self._handle)):
            try:
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
            except pynvml.NVMLError as error:
                if error.value == _NOT_FOUND:
                    continue
                raise
            handles.append((handle, str(pynvml.nvmlDeviceGetUUID(handle))))
        return handles

    def _probe(self) -> dict[Source, Answer]:
        answers: dict[Source, Answer] = {}
        answers.update(self._fields(fields.PROBED))
        answers.update((call, self._call(call)) for call in (fields.ENERGY_CALL, fields.POWER_CALL))
        return answers

    def _fields(self, wanted: Sequence[Field]) -> dict[Source, Answer]:
        """Ask a batch of fields.

        Raises:
            NVMLError: the GPU or the driver is gone.
        """
        if not wanted:
            return {}
        try:
            answered = pynvml.nvmlDeviceGetFieldValues(self._handle, list(wanted))
        except pynvml.NVMLError as error:
            if error.value in _LOST:
                raise
            self._count("nvmlDeviceGetFieldValues", error.value)
            return dict.fromkeys(wanted, Answer(code=error.value))
        # The call succeeds when one field does: every field carries its own code.
        return {
            field: Answer(code=value.nvmlReturn, value=_number(value) if value.nvmlReturn == fields.SUCCESS else None)
            for field, value in zip(wanted, answered, strict=True)
        }

    def _call(self, name: str) -> Answer:
        try:
            return Answer(code=fields.SUCCESS, value=int(getattr(pynvml, name)(self._handle)))
        except pynvml.NVMLError as error:
            return Answer(code=error.value)

    def _value(
        self, what: str, source: Source | None, values: Mapping[Source, Answer]
    ) -> tuple[int | None, str | None]:
        """Return a value, or the reason why there is none.

        Raises:
            NVMLError: the GPU or the driver is gone.
        """
        if source is None:
            return None, f"{what}_not_supported"
        answer = values[source] if isinstance(source, Field) else self._call(source)
        if answer.code in _LOST:
            raise pynvml.NVMLError(answer.code)
        if answer.code != fields.SUCCESS:
            self._count(str(source), answer.code)
            return None, f"{what}_{_REASONS.get(answer.code, f'nvml_{answer.code}')}"
        if answer.value is None or not 0 <= answer.value <= _INT64_MAX:
            return None, f"{what}_absurd"
        return answer.value, None

    def _lost(self, uuid: str, code: int) -> GpuReading:
        self._count("read", code)
        return GpuReading(
            gpu_uuid=uuid,
            state="lost",
            sampled_at_us=self._clock.now_us(),
            monotonic_us=self._clock.monotonic_us(),
            reasons=(_LOST[code],),
        )

    def _count(self, call: str, code: int) -> None:
        self._count_error(call, code)
        if code == _LIB_RM_VERSION_MISMATCH:
            raise RestartNeededError(_MISMATCH)

    def _take_limit(self, values: Mapping[Source, Answer]) -> None:
        limit = self.plan.limit if self.plan is not None else None
        value = values[limit].value if limit is not None else None
        if value is not None and self.device is not None and value != self.device.power_limit_milliwatts:
            self.device = dataclasses.replace(self.device, power_limit_milliwatts=value)

    def _detail(self, values: Mapping[Source, Answer]) -> GpuDetail:
        handle = self._handle
        capped = self.plan.capped if self.plan is not None else None
        return GpuDetail(
            sm_utilization_percent=self._optional(
                "nvmlDeviceGetUtilizationRates", lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            ),
            memory_used_bytes=self._optional(
                "nvmlDeviceGetMemoryInfo", lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            ),
            sm_clock_mhz=self._optional(
                "nvmlDeviceGetClockInfo", lambda: int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))
            ),
            temperature_celsius=self._temperature(),
            power_capped_ns=values[capped].value if capped is not None else None,
        )

    def _temperature(self) -> int | None:
        # The second name is the older one, which newer drivers are to lose.
        for name in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"):
            ask = partial(getattr(pynvml, name), self._handle, pynvml.NVML_TEMPERATURE_GPU)
            found = self._optional(name, ask)
            if found is not None:
                return int(found)
        return None

    def _mig_enabled(self) -> bool:
        mode = self._optional("nvmlDeviceGetMigMode", lambda: int(pynvml.nvmlDeviceGetMigMode(self._handle)[0]))
        return mode == _MIG_ENABLED

    def _optional(self, call: str, ask: Callable[[], T]) -> T | None:
        """Return what a call gives, or None; one that this board never answers is not asked again."""
        if call in self._silent:
            return None
        try:
            return ask()
        except UnicodeDecodeError:
            return None
        except pynvml.NVMLError as error:
            self._count(call, error.value)
            if error.value in fields.NEVER:
                self._silent.add(call)
            return None

    def _describe(self, uuid: str, name: str | None, plan: FieldPlan) -> Device:
        handle = self._handle
        capability = self._optional(
            "nvmlDeviceGetCudaComputeCapability", lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        )
        pci = self._optional("nvmlDeviceGetPciInfo", lambda: pynvml.nvmlDeviceGetPciInfo(handle))
        return Device(
            gpu_uuid=uuid,
            name=name,
            architecture=self._optional(
                "nvmlDeviceGetArchitecture", lambda: int(pynvml.nvmlDeviceGetArchitecture(handle))
            ),
            compute_capability=f"{capability[0]}.{capability[1]}" if capability is not None else None,
            # NVML keeps the id of the device in the upper half and that of its vendor in the lower.
            pci_device_id=f"{pci.pciDeviceId >> 16:04x}" if pci is not None else None,
            pci_subsystem_id=f"{pci.pciSubSystemId >> 16:04x}" if pci is not None else None,
            memory_total_bytes=self._optional(
                "nvmlDeviceGetMemoryInfo", lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            ),
            power_limit_milliwatts=self._limit(plan),
            mig_enabled=self._mig_enabled(),
            state="ok",
            energy_scope=plan.scope,
        )

    def _limit(self, plan: FieldPlan) -> int | None:
        if plan.limit is not None:
            return self.answers[plan.limit].value
        if plan.scope == "module":
            return None
        return self._optional(
            "nvmlDeviceGetEnforcedPowerLimit", lambda: int(pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle))
        )


def _number(value: Any) -> int | None:
    """Return the number of a field value, which says itself which member of its union holds it."""
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    if not 0 <= value.valueType < len(members):
        return None
    number = getattr(value.value, members[value.valueType])
    # A double may be NaN or infinite, which is no reading.
    return int(number) if number == number and abs(number) != float("inf") else None  # noqa: PLR0124 - asks for NaN


def _processes(handle: Any, mig_uuid: str | None) -> Iterable[GpuProcess]:
    try:
        found = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    except pynvml.NVMLError as error:
        if error.value not in fields.NEVER:
            raise
        found = pynvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)
    return [
        GpuProcess(pid=int(process.pid), used_memory_bytes=process.usedGpuMemory, mig_uuid=mig_uuid)
        for process in found
    ]
