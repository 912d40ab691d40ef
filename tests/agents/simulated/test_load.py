"""The invented load: a function of time alone, with an exact integral."""

from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.simulated.load import MINUTE_US, PPM, LoadCurve, fraction

SINCE_US = 1_795_000_000_000_000 + 12_345_678
times = st.integers(min_value=0, max_value=3 * 24 * 3_600_000_000)


def test_the_same_name_gives_the_same_load() -> None:
    """And another name another."""
    loads = [LoadCurve(name, since_us=SINCE_US).ppm(SINCE_US) for name in ("a", "a", "b")]

    assert loads[0] == loads[1] != loads[2]


def test_a_fraction_lies_between_0_and_1() -> None:
    """Whatever the text."""
    assert all(0 <= fraction(str(number)) <= 1 for number in range(1000))


@given(times)
def test_the_load_is_a_part_of_full(after_us: int) -> None:
    """Never negative, never above full."""
    assert 0 <= LoadCurve("a", since_us=SINCE_US).ppm(SINCE_US + after_us) <= PPM


@given(times, times)
def test_the_integral_does_not_depend_on_who_asked_before(first_us: int, second_us: int) -> None:
    """A counter that is asked at 10 s steps and one that is asked once agree."""
    asked_twice, asked_once = LoadCurve("a", since_us=SINCE_US), LoadCurve("a", since_us=SINCE_US)
    asked_twice.integral_ppm_us(SINCE_US + first_us)

    assert asked_once.integral_ppm_us(SINCE_US + second_us) == asked_twice.integral_ppm_us(SINCE_US + second_us)


@given(times, st.integers(min_value=0, max_value=2 * MINUTE_US))
def test_the_integral_never_falls_and_never_runs_ahead(after_us: int, more_us: int) -> None:
    """It grows by at most full load times the time."""
    curve = LoadCurve("a", since_us=SINCE_US)
    before, now = (curve.integral_ppm_us(SINCE_US + at_us) for at_us in (after_us, after_us + more_us))

    assert before <= now <= before + PPM * more_us


@given(times)
def test_the_integral_is_the_trapezoid_inside_a_minute(after_us: int) -> None:
    """Between two whole minutes the load is a line."""
    curve = LoadCurve("a", since_us=SINCE_US)
    start_us = (SINCE_US + after_us) // MINUTE_US * MINUTE_US + MINUTE_US
    quarter, end = start_us + MINUTE_US // 4, start_us + MINUTE_US // 2
    trapezoid = (curve.ppm(quarter) + curve.ppm(end)) * (end - quarter) // 2

    assert abs(curve.integral_ppm_us(end) - curve.integral_ppm_us(quarter) - trapezoid) <= 2 * (end - quarter)


def test_it_begins_at_0() -> None:
    """The integral counts from the start of the curve, in the middle of a minute too."""
    assert 0 == LoadCurve("a", since_us=SINCE_US).integral_ppm_us(SINCE_US)
