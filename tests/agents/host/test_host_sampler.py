"""Sources that are read beside the sampler, and what a caller gets where one hangs or fails."""

import logging
import threading
from collections.abc import Sequence
from typing import Final

import pytest

from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.host.reading import HostReading, SourceName
from tokenmill_agent.host.sampler import HostSampler


class Scripted:
    """A source that a test holds in its hand."""

    name: Final[SourceName] = "hwmon"

    def __init__(self, *, interval_seconds: float | None = None) -> None:
        self.interval_seconds = interval_seconds
        self.milliwatts: int | None = 1_000
        self.reason: str | None = None
        self.reads = 0
        self.ids: tuple[str, ...] = ("a",)
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def read(self) -> Sequence[HostReading]:
        """Return what the test set, once the gate is open."""
        self.reads += 1
        assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure
        return [
            HostReading(
                scope="cpu",
                source="hwmon",
                id=one,
                power_milliwatts=self.milliwatts,
                reason=self.reason,
                detail="why" if self.reason else None,
            )
            for one in self.ids
        ]


def sampler(source: Scripted, clock: DrivenClock, *, background: bool = False) -> HostSampler:
    """Return a sampler of one source, a sample a second."""
    return HostSampler([source], clock=clock, sample_interval_seconds=1.0, background=background)


def run(made: HostSampler, clock: DrivenClock, seconds: int) -> None:
    """Sample for some seconds, without a row."""
    for _ in range(seconds):
        made.sample(row=False)
        clock.advance(1.0)


def test_a_row_holds_the_mean_since_the_row_before() -> None:
    """And the time that it covers."""
    clock, source = DrivenClock(0, monotonic_us=0), Scripted()
    made = sampler(source, clock)
    run(made, clock, 10)
    made.sample(row=True)
    source.milliwatts = 3_000
    run(made, clock, 2)
    made.sample(row=True)
    samples = made.take()

    assert ([1_000, 2_500], [10_000_000, 2_000_000]) == (samples.power_mean_milliwatts, samples.covered_us)


def test_a_source_is_read_at_its_own_interval() -> None:
    """A controller every ten seconds, though samples come every second."""
    clock, source = DrivenClock(0, monotonic_us=0), Scripted(interval_seconds=10.0)
    run(sampler(source, clock), clock, 31)

    assert 4 == source.reads


def test_a_row_without_a_new_reading_is_not_made() -> None:
    """The one before was sent already."""
    clock, source = DrivenClock(0, monotonic_us=0), Scripted(interval_seconds=10.0)
    made = sampler(source, clock)
    for _ in range(3):
        made.sample(row=True)
        clock.advance(1.0)

    assert 1 == len(made.take().id)


def test_what_was_taken_is_not_given_again() -> None:
    """Each row is in one message."""
    clock = DrivenClock(0, monotonic_us=0)
    made = sampler(Scripted(), clock)
    made.sample(row=True)
    made.take()

    assert [] == made.take().id


def test_a_source_that_hangs_holds_nobody_up_and_says_timeout() -> None:
    """It is not asked again while it hangs, and its rows have a reason after three intervals."""
    clock, source = DrivenClock(0, monotonic_us=0), Scripted()
    made = sampler(source, clock, background=True)
    made.sample(row=False)
    made.wait(60)
    source.gate.clear()
    run(made, clock, 10)
    made.sample(row=True)
    samples = made.take()
    source.gate.set()
    made.wait(60)
    made.close()

    assert (2, ["timeout"], [None]) == (source.reads, samples.reason, samples.power_mean_milliwatts)


def test_a_mistake_in_a_source_is_raised_where_it_is_counted() -> None:
    """Once for each reading, in the caller's thread, and the source is read again."""
    clock, source = DrivenClock(0, monotonic_us=0), Scripted()
    made = sampler(source, clock, background=True)
    source.failure = ValueError("no")
    made.sample(row=False)
    made.wait(60)
    clock.advance(1.0)
    with pytest.raises(ValueError, match="no"):
        made.sample(row=False)
    made.wait(60)
    made.close()

    assert 2 == source.reads


def test_a_meter_that_is_gone_says_so() -> None:
    """The others go on."""
    clock, source = DrivenClock(0, monotonic_us=0), Scripted()
    source.ids = ("a", "b")
    made = sampler(source, clock)
    made.sample(row=True)
    source.ids = ("a",)
    clock.advance(1.0)
    made.sample(row=True)

    assert [None, None, None, "not_found"] == made.take().reason


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not at every tick."""
    caplog.set_level(logging.INFO)
    clock, source = DrivenClock(0, monotonic_us=0), Scripted()
    made = sampler(source, clock)
    run(made, clock, 3)
    source.milliwatts, source.reason = None, "no_data"
    run(made, clock, 3)
    source.milliwatts, source.reason = 1_000, None
    run(made, clock, 3)

    assert ["host power hwmon a is missing: no_data (why)", "host power hwmon a is read again"] == caplog.messages
