"""What a GPU's counter says of each hour: exact whatever the order, the copies, the gaps and the clock."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted import HOUR_US, SECOND_US, ScriptedNode, ScriptedWarehouse, at, rows

MILLIJOULES_PER_SECOND = 500_000
LATER = 10 * 3600


def counter(seconds: float) -> int:
    """Return a counter that has risen by 500 W since long before the script."""
    return 10_000_000_000 + round(MILLIJOULES_PER_SECOND * seconds)


def steady(node: ScriptedNode, first: int, last: int, step: int = 10, **more: object) -> None:
    """Send one row per step, each its own message, from the first to the last second."""
    for seconds in range(first, last + 1, step):
        node.gpu_rows(
            [
                {
                    "at_us": at(seconds),
                    "energy_counter_millijoules": counter(seconds),
                    "energy_integrated_millijoules": counter(seconds) - 1_000_000,
                    "integrated_us": (seconds + 90_000) * SECOND_US,
                }
            ],
            placements=[node.placement(0, at(seconds), "d1")],
            **more,  # type: ignore[arg-type]
        )


def energy_by_hour(warehouse: ScriptedWarehouse, seconds: float = LATER) -> dict[int, int]:
    """Return the millijoules of every hour, by its distance from the script's first hour."""
    with warehouse.measured(seconds) as connection:
        found = rows(
            connection,
            "select hour_at, sum(gpu_energy_millijoules)::bigint as e from hourly.unit_use group by all order by all",
        )
    return {(round(row["hour_at"].timestamp()) - _start()) // 3600: row["e"] for row in found}


def _start() -> int:
    from tests.scripted import START

    return round(START.timestamp())


class TestHours:
    """Increases by hour."""

    def test_edges_are_cut_linearly(self, tmp_path: Path) -> None:
        """A steady counter gives each hour exactly its time times its power."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, -27, 7233)
        warehouse.land(node.sent)

        assert {
            -1: 27 * MILLIJOULES_PER_SECOND,
            0: 3600 * MILLIJOULES_PER_SECOND,
            1: 3600 * MILLIJOULES_PER_SECOND,
            2: 33 * MILLIJOULES_PER_SECOND,
        } == energy_by_hour(warehouse)

    def test_gap_inside_an_epoch_is_known_energy(self, tmp_path: Path) -> None:
        """While the agent is away for two hours the counter goes on, and so do the hours between."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, 0, 1800)
        steady(node, 9000, 10800)
        warehouse.land(node.sent)

        assert dict.fromkeys(range(3), 3600 * MILLIJOULES_PER_SECOND) | {3: 0} == energy_by_hour(warehouse) | {3: 0}

    def test_open_hour_waits_for_its_grace(self, tmp_path: Path) -> None:
        """An hour that ended less than the grace ago is not built."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, 0, 3700)
        warehouse.land(node.sent)

        assert {} == energy_by_hour(warehouse, 3600 + 299)
        assert {0: 3600 * MILLIJOULES_PER_SECOND} == energy_by_hour(warehouse, 3600 + 300)

    def test_late_rows_restate_back_to_the_previous_edge(self, tmp_path: Path) -> None:
        """Samples that return after a gap fill the hours that were built without them."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, 0, 1800)
        warehouse.land(node.sent)
        before = energy_by_hour(warehouse, 4 * 3600)
        node.sent.clear()
        steady(node, 4 * 3600 + 600, 5 * 3600 - 10)
        warehouse.land(node.sent)

        assert {0: 1800 * MILLIJOULES_PER_SECOND} == before
        assert dict.fromkeys(range(4), 3600 * MILLIJOULES_PER_SECOND) == {
            hour: energy for hour, energy in energy_by_hour(warehouse, 6 * 3600).items() if hour < 4
        }


class TestEpochs:
    """Where a counter starts anew."""

    def test_fall_is_bridged_by_the_integral(self, tmp_path: Path) -> None:
        """A counter that falls inside a run costs nothing where the agent's integral has no gap."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        for seconds in range(0, 3700, 10):
            reading = counter(seconds) if seconds < 1000 else 1000 + MILLIJOULES_PER_SECOND * (seconds - 1000)
            node.gpu_rows(
                [
                    {
                        "at_us": at(seconds),
                        "energy_counter_millijoules": reading,
                        "energy_integrated_millijoules": MILLIJOULES_PER_SECOND * seconds,
                        "integrated_us": seconds * SECOND_US,
                    }
                ],
                placements=[node.placement(0, at(seconds), "d1")],
            )
        warehouse.land(node.sent)

        assert 3600 * MILLIJOULES_PER_SECOND == energy_by_hour(warehouse, 3600 + 300)[0]

    def test_fall_without_an_integral_is_missing(self, tmp_path: Path) -> None:
        """Where nothing bridges a fall its ten seconds are missing, and the hour says so."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        for seconds in range(0, 3700, 10):
            reading = counter(seconds) if seconds < 1000 else MILLIJOULES_PER_SECOND * (seconds - 1000)
            node.gpu_rows(
                [{"at_us": at(seconds), "energy_counter_millijoules": reading}],
                placements=[node.placement(0, at(seconds), "d1")],
            )
        warehouse.land(node.sent)
        with warehouse.measured(3600 + 300) as connection:
            found = rows(
                connection,
                "select gpu_energy_millijoules as e, energy_known_gpu_time_us as k, reasons from hourly.unit_use",
            )[0]

        assert 3590 * MILLIJOULES_PER_SECOND == found["e"]
        assert 3590 * SECOND_US == found["k"]
        assert "counter_fell" in found["reasons"]

    def test_reboot_counts_from_its_own_first_sample(self, tmp_path: Path) -> None:
        """Nothing is invented across a reboot: the time between the boots has no energy."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, 0, 1000)
        node.boot_id, node.boot_at_us, node.run_id = "boot-2", at(1100), "run-2"
        for seconds in range(1200, 3700, 10):
            node.gpu_rows(
                [{"at_us": at(seconds), "energy_counter_millijoules": MILLIJOULES_PER_SECOND * (seconds - 1100)}],
                placements=[node.placement(0, at(seconds), "d1")],
            )
        warehouse.land(node.sent)

        assert 3400 * MILLIJOULES_PER_SECOND == energy_by_hour(warehouse, 3600 + 300)[0]

    def test_two_agents_count_once(self, tmp_path: Path) -> None:
        """Two agents that run on one node by mistake do not double its energy."""
        first, second = ScriptedNode(), ScriptedNode(run_id="run-2")
        steady(first, 0, 3700)
        for seconds in range(4, 3700, 10):
            second.gpu_rows(
                [{"at_us": at(seconds), "energy_counter_millijoules": counter(seconds)}],
                placements=[second.placement(0, at(seconds), "d1")],
            )
        warehouse = ScriptedWarehouse(tmp_path)
        warehouse.land(first.sent)
        warehouse.land(second.sent)

        assert 3600 * MILLIJOULES_PER_SECOND == energy_by_hour(warehouse, 3600 + 300)[0]

    def test_absurd_reading_is_not_energy(self, tmp_path: Path) -> None:
        """A counter that jumps by more than the GPU's limit allows is left out, and said."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        for seconds in range(0, 3700, 10):
            jump = 10**12 if seconds >= 2000 else 0
            node.gpu_rows(
                [{"at_us": at(seconds), "energy_counter_millijoules": counter(seconds) + jump}],
                placements=[node.placement(0, at(seconds), "d1")],
            )
        warehouse.land(node.sent)
        with warehouse.measured(3600 + 300) as connection:
            found = rows(connection, "select gpu_energy_millijoules as e, reasons from hourly.unit_use")[0]

        assert 3590 * MILLIJOULES_PER_SECOND == found["e"]
        assert "implausible_power" in found["reasons"]

    @pytest.mark.parametrize(("gain", "expected"), [(1.0, False), (1.04, False), (1.06, True), (0.9, True)])
    def test_meters_that_part_are_named(self, tmp_path: Path, gain: float, expected: bool) -> None:
        """A counter that is more than 5 % away from the integral of the same board says so, and stays the figure."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        for seconds in range(0, 3700, 10):
            node.gpu_rows(
                [
                    {
                        "at_us": at(seconds),
                        "energy_counter_millijoules": counter(seconds),
                        "energy_integrated_millijoules": round(gain * MILLIJOULES_PER_SECOND * seconds),
                        "integrated_us": seconds * SECOND_US,
                    }
                ],
                placements=[node.placement(0, at(seconds), "d1")],
            )
        warehouse.land(node.sent)
        with warehouse.measured(3600 + 300) as connection:
            found = rows(connection, "select gpu_energy_millijoules as e, reasons from hourly.unit_use")[0]

        assert 3600 * MILLIJOULES_PER_SECOND == found["e"]
        assert expected == ("energy_methods_differ" in found["reasons"])


class TestClock:
    """A clock that steps."""

    @pytest.mark.parametrize("error_seconds", [-120, 120])
    @pytest.mark.parametrize("step_at", [1800, 3600, 3650])
    def test_step_creates_and_loses_no_energy(self, tmp_path: Path, error_seconds: int, step_at: int) -> None:
        """A clock that steps by two minutes, in an hour or at its edge, leaves the whole as it was."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, 0, step_at - 10)
        steady(node, step_at, 2 * 3600, clock_error_us=error_seconds * SECOND_US)
        warehouse.land(node.sent)

        assert 7200 * MILLIJOULES_PER_SECOND == sum(energy_by_hour(warehouse).values())

    def test_wrong_clock_is_put_right(self, tmp_path: Path) -> None:
        """A node whose clock is an hour and a half late has its samples in the hours in which they were taken."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        steady(node, 0, 3600, clock_error_us=-3 * HOUR_US // 2)
        warehouse.land(node.sent)

        assert 3600 * MILLIJOULES_PER_SECOND == energy_by_hour(warehouse)[0]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """Return sample times in seconds over three hours, a seed to shuffle with, and in how many slices they come."""
    steps = draw(st.lists(st.sampled_from([1, 5, 10, 10, 10, 40, 301, 4000]), min_size=2, max_size=40))
    times = [0]
    for step in steps:
        times.append(times[-1] + step)
    return times, draw(st.integers(0, 2**16)), draw(st.integers(1, 3))


@given(history=histories())
@settings(max_examples=20, deadline=None)
def test_energy_in_the_hours_is_the_rise_of_the_counter(
    tmp_path_factory: pytest.TempPathFactory, history: tuple[list[int], int, int]
) -> None:
    """In any order, with copies and gaps, in any slices with builds between: what went in comes out."""
    times, seed, slices = history
    shuffled = random.Random(seed)  # noqa: S311 - a reproducible order, no secret
    node = ScriptedNode()
    for seconds in times:
        node.gpu_rows(
            [{"at_us": at(seconds), "energy_counter_millijoules": counter(seconds)}],
            placements=[node.placement(0, at(seconds), "d1")],
        )
    messages = [*node.sent, *shuffled.sample(node.sent, k=len(node.sent) // 2)]
    shuffled.shuffle(messages)
    warehouse = ScriptedWarehouse(tmp_path_factory.mktemp("hours"))
    found: dict[int, int] = {}
    for part in range(slices):
        warehouse.land(messages[part::slices])
        found = energy_by_hour(warehouse, times[-1] + LATER)

    assert counter(times[-1]) - counter(times[0]) == sum(found.values())
