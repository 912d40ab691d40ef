"""Which hours are measured and attributed, and which are marked because of their neighbours."""

from pathlib import Path
from typing import Any

from tests.scripted import ScriptedNode, ScriptedWarehouse, at, rows

JUST_OVER = 3600 + 300


def sampled(node: ScriptedNode, first: int, last: int) -> None:
    """Send one sample every ten seconds."""
    for seconds in range(first, last + 1, 10):
        node.gpu_rows(
            [{"at_us": at(seconds), "energy_counter_millijoules": 300_000 * (seconds + 10**6)}],
            placements=[node.placement(0, at(seconds), "d1")],
        )


def marks(warehouse: ScriptedWarehouse, seconds: float) -> list[dict[str, Any]]:
    """Build at that second and return what is still marked, by hours after the script's start."""
    with warehouse.measured(seconds) as connection:
        return rows(
            connection,
            f"select (epoch_us(hour_at) - {at(0)}) // 3600000000 as hour, cause from ops.dirty_hours order by all",
        )


def test_the_hour_after_is_measured_for_its_first_samples_and_stays_marked(tmp_path: Path) -> None:
    """An hour that is over ends with the first sample of the next, which is not over yet."""
    warehouse = ScriptedWarehouse(tmp_path)
    node = ScriptedNode()
    sampled(node, 0, JUST_OVER)
    warehouse.land(node.sent)
    left = marks(warehouse, JUST_OVER)
    with warehouse.measured(JUST_OVER) as connection:
        measured = connection.execute("select count(distinct hour_at) from measured.gpu_energy").fetchall()
        attributed = connection.execute("select count(distinct hour_at) from hourly.unit_use").fetchall()

    assert {"hour": 1, "cause": "telemetry"} in left
    assert ([(2,)], [(1,)]) == (measured, attributed)


def test_an_hour_whose_edges_stay_marks_no_neighbour(tmp_path: Path) -> None:
    """More samples inside the next hour move none of the edges that the hour before it was cut with."""
    warehouse = ScriptedWarehouse(tmp_path)
    node = ScriptedNode()
    sampled(node, 0, JUST_OVER)
    warehouse.land(node.sent)
    marks(warehouse, JUST_OVER)
    node.sent.clear()
    sampled(node, JUST_OVER + 10, 2 * 3600 + 300)
    warehouse.land(node.sent)
    with warehouse.measured(2 * 3600 + 300) as connection:
        first = rows(connection, "select gpu_energy_millijoules as e from hourly.unit_use order by hour_at")[0]

    assert {"e": 3600 * 300_000} == first
    assert [] == [mark for mark in marks(warehouse, 2 * 3600 + 300) if mark["hour"] == 0]


def test_slices_that_were_seen_mark_nothing(tmp_path: Path) -> None:
    """A second build over the same landing has nothing to do."""
    warehouse = ScriptedWarehouse(tmp_path)
    node = ScriptedNode()
    sampled(node, 0, 3590)
    warehouse.land(node.sent)

    assert [] == marks(warehouse, JUST_OVER)
    assert [] == marks(warehouse, JUST_OVER)
