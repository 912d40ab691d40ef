"""The trapezoid: exact, additive, and silent about what it did not see."""

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.gpu.energy import EnergyIntegrator

GAP_US = 3_000_000
powers = st.integers(min_value=0, max_value=2_000_000)
steps = st.integers(min_value=1, max_value=5_000_000)
readings = st.lists(st.tuples(steps, st.none() | powers), min_size=1, max_size=40)


def metered(pairs: list[tuple[int, int | None]], start_us: int = 0) -> EnergyIntegrator:
    """Return a meter that saw `pairs` of time since the last and power."""
    meter = EnergyIntegrator(max_gap_us=GAP_US)
    at_us = start_us
    for step, power in pairs:
        at_us += step
        meter.add(at_us, power)
    return meter


def test_a_steady_load_is_power_times_time() -> None:
    """350 W for ten seconds are 3500 J."""
    meter = metered([(1_000_000, 350_000)] * 11)

    assert (3_500_000, 10_000_000) == (meter.energy_millijoules, meter.covered_us)


def test_a_ramp_is_its_mean() -> None:
    """From 100 W to 300 W in two seconds are 400 J."""
    assert 400_000 == metered([(0, 100_000), (2_000_000, 300_000)]).energy_millijoules


def test_nothing_is_known_before_the_first_reading() -> None:
    """None, not 0; one reading covers no time yet."""
    meter = metered([(1, None)])

    assert (None, None) == (meter.energy_millijoules, meter.covered_us)

    meter.add(5, 100)

    assert (0, 0) == (meter.energy_millijoules, meter.covered_us)


def test_a_gap_over_the_limit_is_left_out() -> None:
    """Three seconds are bridged, a microsecond more is not."""
    bridged = metered([(0, 1000), (GAP_US, 1000)])
    broken = metered([(0, 1000), (GAP_US + 1, 1000), (1_000_000, 1000)])

    assert (GAP_US, 1_000_000) == (bridged.covered_us, broken.covered_us)


def test_a_missing_reading_breaks_the_line() -> None:
    """Between the readings around it nothing is added: what the power did there is unknown."""
    assert 0 == metered([(0, 1000), (1_000_000, None), (1_000_000, 1000)]).covered_us


def test_a_reading_that_is_not_later_changes_nothing() -> None:
    """The same moment twice, or an earlier one, adds neither energy nor time."""
    meter = metered([(10, 1000), (1_000_000, 1000)])
    before = meter.mark()
    meter.add(1_000_010, 9999)
    meter.add(5, 9999)

    assert before == meter.mark()


@given(readings)
def test_the_sum_is_exact_and_covers_what_it_says(pairs: list[tuple[int, int | None]]) -> None:
    """Energy and time are those of the neighbours that are both there and near, by exact arithmetic."""
    energy, covered = Fraction(0), 0
    for (_, before), (step, after) in itertools.pairwise(pairs):
        if before is not None and after is not None and step <= GAP_US:
            energy += Fraction((before + after) * step, 2_000_000)
            covered += step
    meter = metered(pairs)

    assert (int(energy), covered) == (meter.energy_millijoules or 0, meter.covered_us or 0)


@given(readings)
def test_it_never_falls(pairs: list[tuple[int, int | None]]) -> None:
    """A counter of energy only grows, and never by more than the highest power times the time."""
    meter, at_us, last = EnergyIntegrator(max_gap_us=GAP_US), 0, 0
    for step, power in pairs:
        at_us += step
        meter.add(at_us, power)
        now = meter.energy_millijoules or 0

        assert last <= now <= last + 2_000_000 * step // 1_000_000 + 1
        last = now


@given(readings, steps)
def test_when_it_starts_does_not_matter(pairs: list[tuple[int, int | None]], start_us: int) -> None:
    """Only differences of time count, so a node that is up for years integrates as one that is not."""
    assert metered(pairs).mark() == metered(pairs, start_us * 10**9).mark()


@given(st.lists(st.tuples(steps.filter(lambda step: step <= GAP_US), powers), min_size=2, max_size=20))
def test_the_mean_since_a_mark_times_its_time_is_the_energy(pairs: list[tuple[int, int]]) -> None:
    """A row's mean power stands for the energy since the row before."""
    meter = metered([*pairs[:1]])
    mark = meter.mark()
    at_us = pairs[0][0]
    for step, power in pairs[1:]:
        at_us += step
        meter.add(at_us, power)
    mean, covered = meter.mean_milliwatts_since(*mark), (meter.covered_us or 0) - mark[1]

    assert mean is not None
    assert (
        abs(Fraction(mean * covered, 1_000_000) - (meter.energy_millijoules or 0)) <= Fraction(covered, 1_000_000) + 1
    )
