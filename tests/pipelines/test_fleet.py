"""The inventory: intervals that hold between sightings."""

from pathlib import Path
from typing import Any

from tests.scripted import ScriptedNode, ScriptedWarehouse, at, rows

LATER = 100 * 3600


def intervals(warehouse: ScriptedWarehouse, table: str, columns: str) -> list[dict[str, Any]]:
    """Return an interval table's columns in order of time, with the seconds of both ends."""
    with warehouse.measured(LATER) as connection:
        return rows(
            connection,
            f"select {columns}, (epoch_us(first_seen_at) - {at(0)}) // 1000000 as first, "
            f"(epoch_us(last_seen_at) - {at(0)}) // 1000000 as last from {table} order by first_seen_at, {columns}",
        )


def sight(node: ScriptedNode, seconds: float, holder: str | None = "d1", **more: Any) -> None:
    """Send one message with one sighting."""
    node.gpu_rows(
        [{"at_us": at(seconds), "energy_counter_millijoules": round(1000 * (seconds + 10**6))}],
        placements=[node.placement(0, at(seconds), holder, **more)],
    )


class TestNodes:
    """Nodes and their identity."""

    def test_sightings_extend_one_interval(self, tmp_path: Path) -> None:
        """A node that says the same is one interval, whatever slices its messages come in."""
        warehouse = ScriptedWarehouse(tmp_path)
        for seconds in (30, 0, 60):
            node = ScriptedNode(run_id=f"run-{seconds}")
            sight(node, seconds)
            warehouse.land(node.sent)
            with warehouse.measured(LATER):
                pass

        assert [{"node": "n1", "first": 0, "last": 60}] == intervals(warehouse, "fleet.node_intervals", "node")

    def test_changed_identity_begins_a_new_interval(self, tmp_path: Path) -> None:
        """A node that moves to another account is two intervals, and back again a third."""
        warehouse = ScriptedWarehouse(tmp_path)
        for seconds, account in ((0, "a"), (10, "b"), (20, "a")):
            node = ScriptedNode(run_id=f"run-{seconds}", account=account)
            sight(node, seconds)
            warehouse.land(node.sent)

        assert [
            {"account": "a", "first": 0, "last": 0},
            {"account": "b", "first": 10, "last": 10},
            {"account": "a", "first": 20, "last": 20},
        ] == intervals(warehouse, "fleet.node_intervals", "account")

    def test_long_silence_ends_an_interval(self, tmp_path: Path) -> None:
        """A node that was silent for two days is not taken to have been there."""
        warehouse = ScriptedWarehouse(tmp_path)
        node = ScriptedNode()
        sight(node, 0)
        sight(node, 48 * 3600)
        warehouse.land(node.sent)

        assert [0, 48 * 3600] == [row["first"] for row in intervals(warehouse, "fleet.node_intervals", "node")]


class TestPlacements:
    """Holders of a GPU."""

    def test_run_breaks_where_a_look_did_not_find_the_holder(self, tmp_path: Path) -> None:
        """A holder that was gone at one look and came back is two runs."""
        warehouse = ScriptedWarehouse(tmp_path)
        node = ScriptedNode()
        for seconds, holder in ((0, "d1"), (10, "d1"), (20, None), (30, "d1")):
            sight(node, seconds, holder)
        warehouse.land(node.sent)

        assert [
            {"deployment": "d1", "first": 0, "last": 10},
            {"deployment": "(none)", "first": 20, "last": 20},
            {"deployment": "d1", "first": 30, "last": 30},
        ] == intervals(warehouse, "fleet.placement_intervals", "deployment")

    def test_order_of_slices_does_not_matter_to_a_run(self, tmp_path: Path) -> None:
        """Looks that land one by one with builds between make the run that they make together."""
        warehouse = ScriptedWarehouse(tmp_path)
        for seconds in (0, 10, 20, 30):
            node = ScriptedNode(run_id=f"run-{seconds}")
            sight(node, seconds)
            warehouse.land(node.sent)
            with warehouse.measured(LATER):
                pass

        assert [{"deployment": "d1", "first": 0, "last": 30}] == intervals(
            warehouse, "fleet.placement_intervals", "deployment"
        )
