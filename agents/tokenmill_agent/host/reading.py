"""What one look at a meter of the rest of the node gives, and how a small file of the kernel is read."""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

Scope = Literal["node_input", "module", "cpu"]
SourceName = Literal["redfish", "dcmi", "hwmon", "rapl"]

POWER_MILLIWATTS_MAX: Final = 1_000_000_000
"""A megawatt: no node draws that, so a reading above it is none."""

_FILE_BYTES_MAX: Final = 4096
_INTEGER: Final = re.compile(rb"\s*([0-9]{1,19})\s*")
_REASONS: Final = {
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.ENOENT: "not_found",
    errno.ENODEV: "not_found",
    errno.ENOTSUP: "not_supported",
    errno.ENODATA: "no_data",
    errno.EAGAIN: "no_data",
    errno.ETIMEDOUT: "timeout",
}


class MissingError(Exception):
    """A value could not be read: the reason that stands in the row, and for the log what was seen."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """One reading of one meter: a counter of energy, or a power, or neither and the reason.

    `energy_range_microjoules` is what the counter reaches at most before it begins at 0 again, None where that is
    not known. `detail` is for the log only.
    """

    scope: Scope
    source: SourceName
    id: str
    energy_microjoules: int | None = None
    energy_range_microjoules: int | None = None
    power_milliwatts: int | None = None
    reason: str | None = None
    detail: str | None = None


class HostSource(Protocol):
    """Reads the meters of one kind. One thread at a time calls it."""

    @property
    def name(self) -> SourceName:
        """Return the kind."""
        ...

    @property
    def interval_seconds(self) -> float | None:
        """Return how often it is read; None for every sample."""
        ...

    def read(self) -> Sequence[HostReading]:
        """Read every meter; none where this node has none of the kind. What fails is a reading with its reason."""
        ...


def read_bytes(path: Path) -> bytes:
    """Return the beginning of a file of the kernel.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise MissingError(_REASONS.get(error.errno or 0, "read_failed"), f"{path}: {error.strerror}") from None


def read_integer(path: Path) -> int:
    """Return the whole number, 0 or more, that a file of the kernel holds.

    Raises:
        MissingError: it cannot be read, or holds something else (`absurd`).
    """
    found = _INTEGER.fullmatch(read_bytes(path))
    if found is None:
        raise MissingError("absurd", f"{path}: no whole number")
    return int(found[1])


def read_text(path: Path) -> str | None:
    """Return the trimmed text of a file of the kernel, None where there is none or it is empty."""
    try:
        return read_bytes(path).decode("utf-8", errors="replace").strip(" \t\r\n\0") or None
    except MissingError:
        return None


def plausible_milliwatts(watts: float, *, least: float = 0.0) -> int:
    """Return a power in milliwatts.

    Raises:
        MissingError: no node can draw that (`absurd`): NaN, below `least` or above a megawatt.
    """
    # A comparison with NaN is false.
    if not least <= watts * 1000 <= POWER_MILLIWATTS_MAX:
        raise MissingError("absurd", f"{watts} W")
    return round(watts * 1000)
