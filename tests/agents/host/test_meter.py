"""Energy across wraps and resets, and rows of what was read since the row before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.host.meter import HostMeter, WrappingCounter
from tokenmill_agent.host.reading import HostReading
from tokenmill_agent.records import HostSamples

RANGE = 262_143_328_850


def counter(microjoules: int, *, range_microjoules: int | None = RANGE) -> HostReading:
    """Return a reading of a counter."""
    return HostReading(
        scope="cpu",
        source="rapl",
        id="package-0",
        energy_microjoules=microjoules,
        energy_range_microjoules=range_microjoules,
    )


def power(milliwatts: int | None, reason: str | None = None) -> HostReading:
    """Return a reading of a power."""
    return HostReading(scope="cpu", source="hwmon", id="Grace", power_milliwatts=milliwatts, reason=reason)


def rows(*seconds_and_readings: tuple[float, HostReading]) -> HostSamples:
    """Return the one row that a meter makes of these readings."""
    meter, samples = HostMeter(seconds_and_readings[0][1], max_gap_us=3_000_000), HostSamples()
    for seconds, reading in seconds_and_readings:
        meter.add(reading, sampled_at_us=round(seconds * 1e6) + 7, monotonic_us=round(seconds * 1e6))
    meter.add_row(samples)
    return samples


@given(steps=st.lists(st.integers(0, 400_000_000), max_size=50), start=st.integers(0, RANGE - 1))
def test_wraps_lose_nothing(steps: list[int], start: int) -> None:
    """A counter that begins again at its range, read every second, gives the sum of its steps."""
    meter, total = WrappingCounter(), start
    meter.add(0, start, RANGE)
    for second, step in enumerate(steps, start=1):
        total += step
        assert meter.add(second * 1_000_000, total % RANGE, RANGE) is None

    assert sum(steps) // 1000 == meter.energy_millijoules


@pytest.mark.parametrize(
    ("elapsed_seconds", "last", "now", "range_microjoules"),
    [
        (1, RANGE - 1, 5, None),
        (61, RANGE - 1, 5, RANGE),
        (0, RANGE - 1, 5, RANGE),
        (1, 1_000_000, 5, RANGE),
        (1, RANGE + 10, 5, RANGE),
    ],
)
def test_a_fall_that_no_single_wrap_explains_begins_anew(
    elapsed_seconds: int, last: int, now: int, range_microjoules: int | None
) -> None:
    """Range unknown, too long ago, no time between, more than a package draws, or a range that is wrong."""
    meter = WrappingCounter()
    meter.add(0, last - 1_000, range_microjoules)
    meter.add(1_000_000, last, range_microjoules)
    before = meter.energy_millijoules
    reason = meter.add((1 + elapsed_seconds) * 1_000_000, now, range_microjoules)

    assert (1, "counter_restarted", 0) == (before, reason, meter.energy_millijoules)


def test_a_counter_gives_energy_and_no_power() -> None:
    """What it grew by is in it, also across a gap."""
    samples = rows((0, counter(5_000_000)), (1, counter(105_000_000)), (500, counter(605_000_000)))

    assert ([600_000], [None], [None], [500_000_000]) == (
        samples.energy_millijoules,
        samples.power_mean_milliwatts,
        samples.covered_us,
        samples.monotonic_us,
    )


def test_a_power_gives_its_mean_and_the_time_that_it_covers() -> None:
    """A trapezoid; the gap of ten seconds is left out."""
    samples = rows((0, power(100)), (1, power(200)), (2, power(200)), (12, power(900)))

    assert ([None], [175], [2_000_000]) == (
        samples.energy_millijoules,
        samples.power_mean_milliwatts,
        samples.covered_us,
    )


def test_a_first_reading_stands_alone_and_covers_nothing() -> None:
    """No energy follows from it."""
    samples = rows((0, power(100)))

    assert ([100], [0], [7]) == (samples.power_mean_milliwatts, samples.covered_us, samples.sampled_at_us)


def test_what_is_missing_is_none_with_its_reason() -> None:
    """Each reason once."""
    samples = rows((0, power(None, "timeout")), (1, power(None, "timeout")), (2, power(None, "no_data")))

    assert ([None], [None], ["timeout,no_data"]) == (
        samples.power_mean_milliwatts,
        samples.covered_us,
        samples.reason,
    )


def test_a_counter_that_could_not_be_read_at_the_row_shows_no_energy() -> None:
    """The last one known would be said to be of a later time."""
    denied = HostReading(scope="cpu", source="rapl", id="package-0", reason="permission_denied")

    assert [None] == rows((0, counter(1)), (1, denied)).energy_millijoules


def test_nothing_read_is_no_row() -> None:
    """The reading before is not sent twice."""
    meter, samples = HostMeter(power(1), max_gap_us=1), HostSamples()
    meter.add(power(1), sampled_at_us=1, monotonic_us=1)
    meter.add_row(samples)
    meter.add_row(samples)

    assert 1 == len(samples.id)
