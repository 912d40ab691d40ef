"""The agent's own energy meter: a trapezoid over power readings, exact in integers, gaps left out."""

from typing import Final

_HALF_NANOJOULES_PER_MILLIJOULE: Final = 2_000_000


class EnergyIntegrator:
    """Cumulative energy of one GPU since the run began, and the time that it covers.

    Milliwatts times microseconds are nanojoules, so the sum of (p0 + p1) x dt counts half nanojoules and is exact.
    Between two readings further apart than `max_gap_us`, or around a missing one, nothing is known and nothing added.
    """

    def __init__(self, *, max_gap_us: int) -> None:
        """Begin at 0."""
        self._max_gap_us = max_gap_us
        self._half_nanojoules = 0
        self._covered_us = 0
        self._last: tuple[int, int] | None = None
        self._seen = False

    @property
    def energy_millijoules(self) -> int | None:
        """Return the energy so far, rounded down; None before the first reading."""
        return self._half_nanojoules // _HALF_NANOJOULES_PER_MILLIJOULE if self._seen else None

    @property
    def covered_us(self) -> int | None:
        """Return how much time the energy covers; None before the first reading."""
        return self._covered_us if self._seen else None

    def add(self, monotonic_us: int, power_milliwatts: int | None) -> None:
        """Take a reading; None says that the meter gave none. One that is not later than the last is left out."""
        if power_milliwatts is None:
            self._last = None
            return
        self._seen = True
        if self._last is not None:
            last_us, last_milliwatts = self._last
            elapsed_us = monotonic_us - last_us
            if elapsed_us <= 0:
                return
            if elapsed_us <= self._max_gap_us:
                self._half_nanojoules += (last_milliwatts + power_milliwatts) * elapsed_us
                self._covered_us += elapsed_us
        self._last = (monotonic_us, power_milliwatts)

    def mean_milliwatts_since(self, half_nanojoules: int, covered_us: int) -> int | None:
        """Return the mean power since `mark` gave these two, None where no time has been covered since."""
        covered_since_us = self._covered_us - covered_us
        if covered_since_us == 0:
            return None
        return round((self._half_nanojoules - half_nanojoules) / 2 / covered_since_us)

    def mark(self) -> tuple[int, int]:
        """Return where the meter stands, to ask later for the mean power since."""
        return self._half_nanojoules, self._covered_us
