"""Power of a Grace superchip's module and sockets, as the kernel's hwmon meters give it by label."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenmill_agent.host.reading import (
    HostReading,
    MissingError,
    Scope,
    SourceName,
    plausible_milliwatts,
    read_integer,
    read_text,
)

SYSFS: Final = Path("/sys")

_LABEL: Final = re.compile(r"(Module|Grace|CPU|SysIO) Power Socket ([0-9]{1,4})")
_METER: Final = re.compile(r"power([0-9]{1,4})_(average|input)")
_LOOKS_PER_SEARCH: Final = 60
_MICROWATTS_PER_WATT: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meter:
    label: str
    kind: str
    socket: int
    path: Path

    @property
    def scope(self) -> Scope:
        return "module" if self.kind == "Module" else "cpu"


class HwmonSource:
    """Reads `power*_average`, else `power*_input`, in microwatts. A meter with another label is not known and not read.

    The module's power holds the socket's, and the socket's (`Grace`) holds the rails of its cores (`CPU`) and of the
    rest of the chip (`SysIO`): a rail is read only where its socket has no meter of its own, so that the cpu scope
    counts nothing twice.
    """

    name: Final[SourceName] = "hwmon"
    interval_seconds: Final = None

    def __init__(self, sysfs: Path = SYSFS) -> None:
        """Look below `sysfs`; nothing is read yet."""
        self._sysfs = sysfs
        self._meters: list[_Meter] = []
        self._looks_left = 0

    def read(self) -> Sequence[HostReading]:
        """Read every meter that is known; new ones are looked for once a minute of readings, or after one vanished."""
        if self._looks_left == 0:
            self._meters, self._looks_left = find(self._sysfs), _LOOKS_PER_SEARCH
        self._looks_left -= 1
        readings = [_read(meter) for meter in self._meters]
        if any(reading.reason == "not_found" for reading in readings):
            self._looks_left = 0
        return readings


def find(sysfs: Path) -> list[_Meter]:
    """Return the meters to read, in order of their labels."""
    found: dict[str, _Meter] = {}
    for meter in _candidates(sysfs / "class" / "hwmon"):
        found.setdefault(meter.label, meter)
    whole = {meter.socket for meter in found.values() if meter.kind == "Grace"}
    return [
        meter for _, meter in sorted(found.items()) if meter.kind in ("Module", "Grace") or meter.socket not in whole
    ]


def _candidates(hwmon: Path) -> Iterator[_Meter]:
    # The driver of ACPI power meters keeps its files one directory further down.
    for folder in sorted([*hwmon.glob("hwmon*"), *hwmon.glob("hwmon*/device")]):
        # In the order of the alphabet the average comes before the momentary value.
        for path in sorted(folder.glob("power*_*")):
            if (name := _METER.fullmatch(path.name)) is None:
                continue
            text = next(filter(None, (read_text(folder / f"power{name[1]}_{of}") for of in ("label", "oem_info"))), "")
            if (label := _LABEL.fullmatch(text)) is not None:
                yield _Meter(label=text, kind=label[1], socket=int(label[2]), path=path)


def _read(meter: _Meter) -> HostReading:
    try:
        milliwatts = plausible_milliwatts(read_integer(meter.path) / _MICROWATTS_PER_WATT)
    except MissingError as error:
        return HostReading(scope=meter.scope, source="hwmon", id=meter.label, reason=error.reason, detail=error.detail)
    return HostReading(scope=meter.scope, source="hwmon", id=meter.label, power_milliwatts=milliwatts)
