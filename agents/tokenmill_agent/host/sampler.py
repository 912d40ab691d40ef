"""Reads the meters of the rest of the node, each kind in a thread of its own, and collects their rows."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from time import monotonic
from typing import Final

from tokenmill_agent.clock import MICROSECONDS, Clock
from tokenmill_agent.gpu.watchdog import Watchdog
from tokenmill_agent.host.meter import HostMeter
from tokenmill_agent.host.reading import HostReading, HostSource
from tokenmill_agent.records import HostSamples

_GAP_INTERVALS: Final = 3
"""Between readings of a power further apart than this many intervals nothing is integrated."""

_log = logging.getLogger(__name__)


class HostSampler:
    """Keeps one meter for each that a source shows. A source that hangs holds up neither the others nor the caller."""

    def __init__(
        self, sources: Sequence[HostSource], *, clock: Clock, sample_interval_seconds: float, background: bool
    ) -> None:
        """Read nothing yet; without `background`, as on a driven clock, sources are read in line."""
        self._slots = [
            _Slot(source, clock=clock, sample_interval_seconds=sample_interval_seconds, background=background)
            for source in sources
        ]
        self._clock = clock
        self._samples = HostSamples()

    def sample(self, *, row: bool) -> None:
        """Begin to read every source that is due and, with `row`, add a row for each meter read since the last row.

        Raises:
            Exception: what a source raised in its thread, which is a mistake in it, once every source was begun.
        """
        failures = [slot.begin(self._clock.monotonic_us()) for slot in self._slots]
        if row:
            for slot in self._slots:
                slot.add_rows(self._samples)
        for failure in filter(None, failures):
            raise failure

    def wait(self, timeout_seconds: float) -> None:
        """Wait for the readings that were begun, at most so long."""
        deadline = monotonic() + timeout_seconds
        for slot in self._slots:
            slot.wait(deadline - monotonic())

    def take(self) -> HostSamples:
        """Return the rows since the last call."""
        samples, self._samples = self._samples, HostSamples()
        return samples

    def close(self) -> None:
        """End the threads once their readings return; does not wait for them."""
        for slot in self._slots:
            slot.close()


class _Slot:
    """One source, its thread, and its meters, which the thread fills and the caller empties."""

    def __init__(self, source: HostSource, *, clock: Clock, sample_interval_seconds: float, background: bool) -> None:
        self._source = source
        self._clock = clock
        self._interval_us = round((source.interval_seconds or sample_interval_seconds) * MICROSECONDS)
        self._watchdog: Watchdog[None] | None = Watchdog(f"host-{source.name}") if background else None
        self._lock = threading.Lock()
        self._meters: dict[str, HostMeter] = {}
        self._reasons: dict[str, str | None] = {}
        self._next_us = 0
        self._running: Future[None] | None = None

    def begin(self, now_us: int) -> BaseException | None:
        """Read the source if it is due; where the reading before hangs, note that for the next row.

        Returns what the reading before raised, if it did.
        """
        # Samples come a little early or late, which must not put off a reading by a whole sample.
        if now_us < self._next_us - self._interval_us // 10:
            return None
        if self._watchdog is not None and self._watchdog.hangs:
            self._note_late(now_us)
            return None
        due_us = self._next_us + self._interval_us
        self._next_us = due_us if due_us > now_us else now_us + self._interval_us
        if self._watchdog is None:
            self._read()
            return None
        last, self._running = self._running, self._watchdog.start(self._read)
        return last.exception() if last is not None else None

    def wait(self, seconds: float) -> None:
        """Wait for the reading that was begun."""
        if self._running is not None:
            wait([self._running], timeout=max(0.0, seconds))

    def add_rows(self, samples: HostSamples) -> None:
        """Add one row for each meter that was read since the last one."""
        with self._lock:
            for meter in self._meters.values():
                meter.add_row(samples)

    def close(self) -> None:
        """End the thread."""
        if self._watchdog is not None:
            self._watchdog.close()

    def _note_late(self, now_us: int) -> None:
        with self._lock:
            if now_us - self._next_us < _GAP_INTERVALS * self._interval_us:
                return
            for meter in self._meters.values():
                reading = _without_value(meter.reading, "timeout")
                meter.add(reading, sampled_at_us=self._clock.now_us(), monotonic_us=self._clock.monotonic_us())
                self._say(reading)

    def _read(self) -> None:
        readings = self._source.read()
        sampled_at_us, monotonic_us = self._clock.now_us(), self._clock.monotonic_us()
        with self._lock:
            seen = {reading.id for reading in readings}
            gone = [meter.reading for meter_id, meter in self._meters.items() if meter_id not in seen]
            for reading in (*readings, *(_without_value(reading, "not_found") for reading in gone)):
                meter = self._meters.get(reading.id)
                if meter is None:
                    gap_us = _GAP_INTERVALS * self._interval_us
                    meter = self._meters[reading.id] = HostMeter(reading, max_gap_us=gap_us)
                meter.add(reading, sampled_at_us=sampled_at_us, monotonic_us=monotonic_us)
                self._say(reading)

    def _say(self, reading: HostReading) -> None:
        """Log what changed, once."""
        if self._reasons.get(reading.id) == reading.reason:
            return
        self._reasons[reading.id] = reading.reason
        if reading.reason is None:
            _log.info("host power %s %s is read again", reading.source, reading.id)
        else:
            detail = f" ({reading.detail})" if reading.detail else ""
            _log.warning("host power %s %s is missing: %s%s", reading.source, reading.id, reading.reason, detail)


def _without_value(reading: HostReading, reason: str) -> HostReading:
    return HostReading(scope=reading.scope, source=reading.source, id=reading.id, reason=reason)
