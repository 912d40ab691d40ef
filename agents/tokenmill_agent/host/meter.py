"""What is kept of one meter of the rest of the node between its rows: energy across wraps, or mean power."""

from typing import Final

from tokenmill_agent.clock import MICROSECONDS
from tokenmill_agent.gpu.energy import EnergyIntegrator
from tokenmill_agent.host.reading import HostReading
from tokenmill_agent.records import HostSamples

WRAP_GAP_US_MAX: Final = 60 * MICROSECONDS
"""A counter that fell while nobody looked for longer than this may have begun at 0 again more than once."""

PLAUSIBLE_MILLIWATTS_MAX: Final = 5_000_000
"""No package draws more: a fall that would need more was a reset, not a wrap."""

_MICROJOULES_PER_MILLIJOULE: Final = 1000


class WrappingCounter:
    """Energy since this run's first reading, from a counter that begins at 0 again at its range.

    A fall that no single wrap explains ends what is known: the energy begins at 0 again, which a reader takes for the
    end of an epoch.
    """

    def __init__(self) -> None:
        """Know of no reading."""
        self._last: tuple[int, int] | None = None
        self._microjoules = 0

    @property
    def energy_millijoules(self) -> int:
        """Return the energy so far, rounded down."""
        return self._microjoules // _MICROJOULES_PER_MILLIJOULE

    def add(self, monotonic_us: int, microjoules: int, range_microjoules: int | None) -> str | None:
        """Take a reading; return `counter_restarted` where it ended what was known, else None."""
        last, self._last = self._last, (monotonic_us, microjoules)
        if last is None:
            return None
        elapsed_us, grown = monotonic_us - last[0], microjoules - last[1]
        if grown < 0:
            if range_microjoules is None or not 0 < elapsed_us <= WRAP_GAP_US_MAX:
                return self._restart()
            grown += range_microjoules
            # Milliwatts times microseconds are nanojoules.
            if not 0 <= grown * 1000 <= PLAUSIBLE_MILLIWATTS_MAX * elapsed_us:
                return self._restart()
        self._microjoules += grown
        return None

    def _restart(self) -> str:
        self._microjoules = 0
        return "counter_restarted"


class HostMeter:
    """One meter: takes readings, and makes at most one row of those since the row before."""

    def __init__(self, reading: HostReading, *, max_gap_us: int) -> None:
        """Take what names the meter from its first reading."""
        self.reading = reading
        self._counter = WrappingCounter()
        self._counts_energy = False
        self._power = EnergyIntegrator(max_gap_us=max_gap_us)
        self._mark = self._power.mark()
        self._at_us = (0, 0)
        self._reasons: list[str] = []
        self._fresh = False

    def add(self, reading: HostReading, *, sampled_at_us: int, monotonic_us: int) -> None:
        """Take a reading."""
        self.reading, self._fresh, self._at_us = reading, True, (sampled_at_us, monotonic_us)
        self._power.add(monotonic_us, reading.power_milliwatts)
        reason = reading.reason
        if reading.energy_microjoules is not None:
            self._counts_energy = True
            reason = self._counter.add(monotonic_us, reading.energy_microjoules, reading.energy_range_microjoules)
        if reason is not None and reason not in self._reasons:
            self._reasons.append(reason)

    def add_row(self, samples: HostSamples) -> None:
        """Add a row, or none where nothing was read since the last one."""
        if not self._fresh:
            return
        reading = self.reading
        counted = self._counts_energy and reading.energy_microjoules is not None
        mean_milliwatts = self._power.mean_milliwatts_since(*self._mark)
        covered_us = self._power.mark()[1] - self._mark[1]
        # Before any time has passed there is the reading alone, and it covers nothing.
        power_milliwatts = mean_milliwatts if mean_milliwatts is not None else reading.power_milliwatts
        samples.scope.append(reading.scope)
        samples.source.append(reading.source)
        samples.id.append(reading.id)
        samples.sampled_at_us.append(self._at_us[0])
        samples.monotonic_us.append(self._at_us[1])
        samples.energy_millijoules.append(self._counter.energy_millijoules if counted else None)
        samples.power_mean_milliwatts.append(power_milliwatts)
        samples.covered_us.append(covered_us if power_milliwatts is not None else None)
        samples.reason.append(",".join(self._reasons) or None)
        self._mark, self._reasons, self._fresh = self._power.mark(), [], False
