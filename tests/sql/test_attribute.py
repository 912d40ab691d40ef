"""Who used an hour's GPU time and energy: placed, idle, unattributed or unobserved, and the sums always close."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted import SECOND_US, ScriptedNode, ScriptedWarehouse, at, rows, server
from tokenmill_pipeline.config import BuildSettings

WATTS = 400
MINUTE = 60


def reading(gpu: int, seconds: float, busy: int = 0) -> dict[str, Any]:
    """Return one row of a GPU that draws 400 W."""
    return {
        "gpu": gpu,
        "at_us": at(seconds),
        "energy_counter_millijoules": round(WATTS * 1000 * (seconds + 90_000)),
        "sm_utilization_percent": busy,
    }


def watch(
    node: ScriptedNode, first: int, last: int, holders: dict[int, str | None], busy: int = 0, **more: Any
) -> None:
    """Send rows and sightings of all GPUs of the node every ten seconds."""
    for seconds in range(first, last + 1, 10):
        node.gpu_rows(
            [reading(gpu, seconds, busy) for gpu in holders],
            placements=[node.placement(gpu, at(seconds), holder, **more) for gpu, holder in holders.items()],
        )


def serve(node: ScriptedNode, first: int, last: int, deployment: str = "d1", gpus: int | None = 1) -> None:
    """Send looks at a server that takes ten tokens a second, every ten seconds."""
    life = server(deployment, started_at_us=at(-9000), expected_gpu_count=gpus, server_id=f"{node.name}/{deployment}")
    for seconds in range(first, last + 1, 10):
        node.token_rows([life], [{"at_us": at(seconds), "input_tokens": 10 * seconds, "output_tokens": seconds}])


def use(warehouse: ScriptedWarehouse, seconds: float = 3600 + 300) -> dict[str, dict[str, Any]]:
    """Return the first hour's GPU time and energy by bucket, or by deployment where it is placed."""
    with warehouse.measured(seconds) as connection:
        found = rows(
            connection,
            """
            select
                case when bucket = 'serving' then deployment else bucket end as holder,
                sum(gpu_time_us)::bigint // 1000000 as seconds,
                sum(gpu_energy_millijoules)::bigint // 1000 as joules,
                sum(cost_matched_gpu_time_us)::bigint // 1000000 as matched_seconds,
                sum(energy_matched_gpu_time_us)::bigint // 1000000 as energy_matched_seconds,
                sum(matched_gpu_energy_millijoules)::bigint // 1000 as matched_joules,
                list_sort(list_distinct(flatten(list(reasons)))) as reasons
            from hourly.unit_use where hour_at = timestamp '2026-03-01 10:00' group by all
            """,
        )
    return {row.pop("holder"): row for row in found}


class TestPlacement:
    """Who holds a GPU, and from when to when."""

    def test_time_and_energy_follow_the_holder(self, tmp_path: Path) -> None:
        """A GPU that changes hands at half past gives each holder its half, to the joule."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 1790, {0: "d1"})
        watch(node, 1800, 3700, {0: "d2"}, process_started_at_us=at(1790))
        warehouse.land(node.sent)
        found = use(warehouse)

        assert (1790, 1810) == (found["d1"]["seconds"], found["d2"]["seconds"])
        assert (1790 * WATTS, 1810 * WATTS) == (found["d1"]["joules"], found["d2"]["joules"])

    def test_handover_is_seen_in_every_batch(self, tmp_path: Path) -> None:
        """Hours that are built in several batches each see their own changes of holder."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path, build=BuildSettings(hours_per_batch=1))
        watch(node, -10, 1790, {0: "d1"})
        watch(node, 1800, 3 * 3600 + 100, {0: "d2"}, process_started_at_us=at(1790))
        warehouse.land(node.sent)
        found = use(warehouse, 3 * 3600 + 300)

        assert {"d1": 1790, "d2": 1810} == {holder: row["seconds"] for holder, row in found.items()}

    def test_time_before_a_process_starts_is_idle(self, tmp_path: Path) -> None:
        """From the last sighting of one process to the start of the next the GPU is idle; loading is the loader's."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 1000, {0: "d1"})
        watch(node, 2000, 3700, {0: "d2"}, process_started_at_us=at(1500))
        warehouse.land(node.sent)
        found = use(warehouse)

        assert {"d1": 1000, "idle": 500, "d2": 2100} == {holder: row["seconds"] for holder, row in found.items()}

    def test_placement_holds_across_a_gap_of_sightings(self, tmp_path: Path) -> None:
        """The same process seen before and after a silence held the GPU all the while."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 600, {0: "d1"}, process_started_at_us=at(-500))
        watch(node, 3000, 3700, {0: "d1"}, process_started_at_us=at(-500))
        warehouse.land(node.sent)

        assert {"d1": 3600} == {holder: row["seconds"] for holder, row in use(warehouse).items()}

    def test_empty_gpu_is_idle_and_a_working_one_unattributed(self, tmp_path: Path) -> None:
        """Nothing there and nothing done is idle; work without a known server is unattributed."""
        node, warehouse = ScriptedNode(gpu_count=3), ScriptedWarehouse(tmp_path)
        for seconds in range(-10, 3700, 10):
            node.gpu_rows(
                [reading(gpu, seconds) for gpu in range(3)],
                placements=[
                    node.placement(0, at(seconds), None),
                    node.placement(1, at(seconds), None, basis="unknown_process"),
                    node.placement(2, at(seconds), "d1"),
                ],
            )
        warehouse.land(node.sent)
        found = use(warehouse)

        assert {"idle": 3600, "unattributed": 3600, "d1": 3600} == {h: row["seconds"] for h, row in found.items()}

    def test_gpu_that_nobody_looked_at_is_unobserved(self, tmp_path: Path) -> None:
        """A node that says it has two GPUs and shows one pays for both."""
        node, warehouse = ScriptedNode(gpu_count=1), ScriptedWarehouse(tmp_path)
        watch(node, -10, 3700, {0: "d1"})
        warehouse.land(node.sent)
        more = ScriptedNode(name="n2", gpu_count=2)
        for seconds in range(-10, 3700, 10):
            more.gpu_rows([reading(0, seconds)], placements=[more.placement(0, at(seconds), "d2")])
        warehouse.land(more.sent)
        found = use(warehouse)

        assert (3600, 3600, 3600) == tuple(found[holder]["seconds"] for holder in ("d1", "d2", "unobserved"))
        assert found["unobserved"]["joules"] is None

    def test_shared_gpu_is_split_by_share(self, tmp_path: Path) -> None:
        """Two replicas with shares get their parts, and what nobody holds is idle."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        for seconds in range(-10, 3700, 10):
            node.gpu_rows(
                [reading(0, seconds)],
                placements=[
                    node.placement(0, at(seconds), "d1", share=0.5),
                    node.placement(0, at(seconds), "d2", share=0.25),
                ],
            )
        warehouse.land(node.sent)
        found = use(warehouse)

        assert {"d1": 1800, "d2": 900, "idle": 900} == {holder: row["seconds"] for holder, row in found.items()}
        assert 3600 * WATTS == sum(row["joules"] for row in found.values())


class TestMatching:
    """Which slots a ratio may use."""

    def test_complete_unit_is_matched_in_whole(self, tmp_path: Path) -> None:
        """Where tokens and energy are known for the whole hour, all of it is matched."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 3700, {0: "d1"})
        serve(node, -10 + 20, 3700)
        warehouse.land(node.sent)
        found = use(warehouse)["d1"]

        assert (3600, 3600, 3600 * WATTS) == (
            found["matched_seconds"],
            found["energy_matched_seconds"],
            found["matched_joules"],
        )

    def test_slots_without_tokens_are_left_out_on_both_sides(self, tmp_path: Path) -> None:
        """A server that is first seen at half past matches the half hour in which it was seen."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 3700, {0: "d1"})
        serve(node, 1800, 3700)
        warehouse.land(node.sent)
        found = use(warehouse)["d1"]

        assert (1800, 1800 * WATTS) == (found["matched_seconds"], found["matched_joules"])

    def test_incomplete_replica_has_no_matched_time(self, tmp_path: Path) -> None:
        """One GPU of a replica of two gives no ratio, and says how many are there."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 3700, {0: "d1"})
        serve(node, 10, 3700, gpus=2)
        warehouse.land(node.sent)
        found = use(warehouse)["d1"]

        assert 0 == found["matched_seconds"]
        assert "replica_gpus_incomplete (1 of 2)" in found["reasons"]

    def test_replica_over_two_nodes_is_one_unit(self, tmp_path: Path) -> None:
        """Tokens of the leader match the GPUs of both nodes that hold the weights."""
        leader, follower = ScriptedNode(), ScriptedNode(name="n2")
        watch(leader, -10, 3700, {0: "d1"})
        watch(follower, -10, 3700, {0: "d1"})
        serve(leader, 10, 3700, gpus=2)
        warehouse = ScriptedWarehouse(tmp_path)
        warehouse.land(leader.sent)
        warehouse.land(follower.sent)
        found = use(warehouse)["d1"]

        assert (7200, 7200 * WATTS) == (found["matched_seconds"], found["matched_joules"])

    def test_unknown_size_withholds_the_match(self, tmp_path: Path) -> None:
        """A replica that does not say how many GPUs hold it cannot be called complete."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 3700, {0: "d1"})
        serve(node, 10, 3700, gpus=None)
        warehouse.land(node.sent)
        found = use(warehouse)["d1"]

        assert 0 == found["matched_seconds"]
        assert "expected_gpu_count_unknown" in found["reasons"]

    def test_tokens_without_a_gpu_say_so(self, tmp_path: Path) -> None:
        """Tokens of a server that holds no known GPU stand apart."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        watch(node, -10, 3700, {0: None})
        serve(node, 10, 3700)
        warehouse.land(node.sent)
        with warehouse.measured(3600 + 300) as connection:
            found = rows(connection, "select input_tokens, cost_matched_input_tokens, reasons from hourly.unit_tokens")

        assert [35_900] == [row["input_tokens"] for row in found]
        assert "no_gpu_placed" in found[0]["reasons"]


def test_module_energy_is_not_called_the_gpus(tmp_path: Path) -> None:
    """A counter that covers the whole module stands beside, never in the GPU's column."""
    node, warehouse = ScriptedNode(energy_scope="module"), ScriptedWarehouse(tmp_path)
    watch(node, -10, 3700, {0: "d1"})
    warehouse.land(node.sent)
    with warehouse.measured(3600 + 300) as connection:
        found = rows(
            connection, "select gpu_energy_millijoules as g, module_energy_millijoules as m from hourly.unit_use"
        )

    assert [{"g": None, "m": 3600 * WATTS * 1000}] == [row for row in found if row["m"] and row["m"] > 10**8]


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 355), st.sampled_from(["d1", "d2", None]), st.sampled_from([0.3, 0.5, 1.0])),
        max_size=12,
    )
)
@settings(max_examples=15, deadline=None)
def test_time_and_energy_always_close(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, str | None, float]]
) -> None:
    """Whoever holds a GPU when, the hour's GPU time and energy are the node's, neither more nor less."""
    node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path_factory.mktemp("closes"))
    holder: tuple[str | None, float] = (None, 1.0)
    schedule = {tick: (who, share) for tick, who, share in changes}
    for tick in range(-1, 371):
        holder = schedule.get(tick, holder)
        node.gpu_rows(
            [reading(0, 10 * tick)],
            placements=[node.placement(0, at(10 * tick), holder[0], share=holder[1] if holder[0] else 1.0)],
        )
    warehouse.land(node.sent)
    with warehouse.measured(3600 + 300) as connection:
        found = rows(
            connection,
            "select sum(gpu_time_us)::bigint as t, sum(gpu_energy_millijoules)::bigint as e "
            "from hourly.unit_use where hour_at = timestamp '2026-03-01 10:00'",
        )[0]

    assert {"t": 3600 * SECOND_US, "e": 3600 * WATTS * 1000} == found
