"""Energy of CPU packages and their memory, as the kernel's powercap counters give it (RAPL of Intel and AMD)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenmill_agent.host.hwmon import SYSFS
from tokenmill_agent.host.reading import HostReading, MissingError, SourceName, read_integer, read_text

_ZONE: Final = re.compile(r"(intel-rapl:[0-9]{1,4})(:[0-9]{1,4})?")
_PACKAGE: Final = re.compile(r"package-[0-9]{1,4}(-die-[0-9]{1,4})?")
_LOOKS_PER_SEARCH: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Domain:
    id: str
    path: Path


class RaplSource:
    """Reads `energy_uj` of each package, and of the memory (`dram`) beside it, which the package does not hold.

    Cores and graphics (`core`, `uncore`) are part of their package, and the platform (`psys`) holds the packages and
    differs by board in what else it holds: none of them is read, so that the cpu scope counts nothing twice. The
    second way to the same counters (`intel-rapl-mmio`) is not read either.
    """

    name: Final[SourceName] = "rapl"
    interval_seconds: Final = None

    def __init__(self, sysfs: Path = SYSFS) -> None:
        """Look below `sysfs`; nothing is read yet."""
        self._sysfs = sysfs
        self._domains: list[_Domain] = []
        self._looks_left = 0

    def read(self) -> Sequence[HostReading]:
        """Read every counter that is known; new ones are looked for once a minute of readings."""
        if self._looks_left == 0:
            self._domains, self._looks_left = find(self._sysfs), _LOOKS_PER_SEARCH
        self._looks_left -= 1
        return [_read(domain) for domain in self._domains]


def find(sysfs: Path) -> list[_Domain]:
    """Return the domains to read, each name once."""
    zones = {path.name: path for path in sorted((sysfs / "class" / "powercap").glob("intel-rapl:*"))}
    names = {zone: read_text(path / "name") or "" for zone, path in zones.items()}
    found: dict[str, _Domain] = {}
    for zone, path in zones.items():
        parts = _ZONE.fullmatch(zone)
        package = names.get(parts[1], "") if parts is not None else ""
        if parts is None or not _PACKAGE.fullmatch(package):
            continue
        if parts[2] is None:
            found.setdefault(package, _Domain(id=package, path=path))
        elif names[zone] == "dram":
            found.setdefault(f"{package}/dram", _Domain(id=f"{package}/dram", path=path))
    return list(found.values())


def _read(domain: _Domain) -> HostReading:
    try:
        energy_microjoules = read_integer(domain.path / "energy_uj")
    except MissingError as error:
        return HostReading(scope="cpu", source="rapl", id=domain.id, reason=error.reason, detail=error.detail)
    return HostReading(
        scope="cpu",
        source="rapl",
        id=domain.id,
        energy_microjoules=energy_microjoules,
        energy_range_microjoules=_range(domain.path / "max_energy_range_uj"),
    )


def _range(path: Path) -> int | None:
    # A container may show the counter without its range.
    try:
        return read_integer(path) or None
    except MissingError:
        return None
