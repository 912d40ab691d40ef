"""One count per token: engines where they are whole, else the front end, else nothing; the other is compared."""

from pathlib import Path
from typing import Any

import pytest

from tests.scripted import ScriptedNode, at
from tests.scripted_fleet import RATE_PER_GPU_HOUR, WATTS, economics, hold, published, serve

HOUR_TOKENS = 3600 * 15


def workers(*gpu_names: str, counts: tuple[bool, ...] = (True, True), **more: Any) -> list[ScriptedNode]:
    """Return nodes of one GPU with an aggregated replica of `d1`; those that do not count are seen and say nothing."""
    nodes = []
    for index, gpu_name in enumerate(gpu_names or ("NVIDIA H200", "NVIDIA H200")):
        node = ScriptedNode(name=f"w{index}", gpu_name=gpu_name)
        hold(node, "d1", replica=f"r{index}")
        rates = (10, 5) if counts[index] else (None, None)
        serve(node, rates=rates, replica=f"r{index}", address=f"10.0.0.{index}:8000", **more)
        nodes.append(node)
    return nodes


def front(rates: tuple[float, float] = (20, 10), vantage: str = "frontend", **more: Any) -> ScriptedNode:
    """Return a node without GPUs whose server counts what both replicas do."""
    node = ScriptedNode(name=vantage, gpu_count=0)
    serve(node, rates=rates, vantage=vantage, replica=vantage, expected_gpu_count=None, **more)
    return node


def counted(tmp_path: Path, nodes: list[ScriptedNode]) -> list[dict[str, Any]]:
    """Return the first hour's tokens by vantage."""
    return published(
        tmp_path,
        nodes,
        "select vantage, role, sum(input_tokens + output_tokens)::bigint as tokens, max(counted_vantage) as chosen, "
        "max(engine_vantage_tokens) as engines, max(frontend_vantage_tokens) as frontends, "
        "max(vantage_difference_share) as difference, list_sort(list_distinct(flatten(list(reasons)))) as reasons "
        "from hourly.unit_tokens where hour_at = timestamp '2026-03-01 10:00' group by all order by all",
    )


class TestChoice:
    """Which vantage an hour of a deployment takes."""

    def test_whole_engines_are_counted_and_nothing_beside_them(self, tmp_path: Path) -> None:
        """A front end and a router that count the same tokens again add none."""
        row = economics(tmp_path, [*workers(), front(), front(vantage="router", address="10.0.0.8:1")])["llama"]

        assert pytest.approx(2 * HOUR_TOKENS, rel=0.01) == row["total_tokens"]
        assert pytest.approx(15 / WATTS * 1e6, rel=0.01) == row["tokens_per_second_per_megawatt_gpu"]

    def test_front_end_is_counted_where_an_engine_is_not(self, tmp_path: Path) -> None:
        """One silent engine leaves all to the front end, whose tokens divide the GPUs of all workers."""
        row = economics(tmp_path, [*workers(counts=(True, False)), front()])["llama"]

        assert pytest.approx(2 * HOUR_TOKENS, rel=0.01) == row["total_tokens"]
        assert pytest.approx(30 / (2 * WATTS) * 1e6, rel=0.01) == row["tokens_per_second_per_megawatt_gpu"]
        assert pytest.approx(RATE_PER_GPU_HOUR / HOUR_TOKENS * 1e6, rel=0.01) == row["cost_per_million_tokens"]
        assert ["H200"] == row["gpu_skus"]

    def test_row_of_a_front_end_belongs_to_the_deployment(self, tmp_path: Path) -> None:
        """Replica, role and product of the front end's row in the fact read `(deployment)`."""
        query = (
            "select replica, role, gpu_sku, gpu_generation from hourly.unit_economics "
            "where total_tokens > 0 and hour_at = timestamp '2026-03-01 10:00'"
        )
        found = published(tmp_path, [*workers(counts=(True, False)), front()], query)

        assert [("(deployment)", "(deployment)", "(deployment)", "Hopper")] == [tuple(row.values()) for row in found]

    def test_front_end_of_two_generations_is_not_counted(self, tmp_path: Path) -> None:
        """Nobody can say which generation gave the tokens that a front end counts for both."""
        nodes = workers("NVIDIA H200", "NVIDIA B200", counts=(True, False))
        found = counted(tmp_path, [*nodes, front()])

        assert [(None, None), (None, None)] == [(row["tokens"], row["chosen"]) for row in found]
        assert all("vantage_incomplete" in row["reasons"] for row in found)

    def test_half_of_the_engines_is_no_vantage(self, tmp_path: Path) -> None:
        """Without a front end, one replica's tokens are not the deployment's; the fact says why."""
        row = economics(tmp_path, workers(counts=(True, False)))["llama"]

        assert (None, None) == (row["total_tokens"], row["cost_per_million_tokens"])
        assert "vantage_incomplete" in row["reasons"]

    def test_router_alone_is_not_counted(self, tmp_path: Path) -> None:
        """A router is no front end: requests that it sends again are counted again."""
        row = economics(tmp_path, [*workers(counts=(True, False)), front(vantage="router")])["llama"]

        assert row["total_tokens"] is None

    def test_front_end_divides_only_slots_in_which_it_is_known(self, tmp_path: Path) -> None:
        """A front end that is first seen after twenty minutes leaves them out on both sides."""
        row = economics(tmp_path, [*workers(counts=(True, False)), front(first=1200)])["llama"]

        assert 2400 * 30 == row["cost_matched_tokens"]
        assert pytest.approx(2 * RATE_PER_GPU_HOUR * 2400 / 3600) == row["matched_effective_cost"]

    def test_front_end_with_a_worker_that_fell_silent_has_no_ratio_from_then_on(self, tmp_path: Path) -> None:
        """From the time at which a worker's node says nothing more, nobody knows how many GPUs the tokens took."""
        silent = ScriptedNode(name="w9")
        hold(silent, "d1", last=1810, replica="r9")
        serve(silent, rates=(None, None), last=1810, replica="r9", address="10.0.0.9:1")
        row = economics(tmp_path, [*workers(counts=(True, False)), silent, front()])["llama"]

        assert 1790 * 30 == row["energy_matched_tokens"]
        assert "gpu_fell_silent" in row["reasons"]


class TestRoles:
    """What a server that does not say its role does to its deployment, and only to it."""

    def test_unknown_role_takes_the_tokens_of_its_deployment(self, tmp_path: Path) -> None:
        """One server without a role could count every prompt again; other deployments keep their tokens."""
        nodes = workers(role="aggregated")
        other, lost = ScriptedNode(name="o"), ScriptedNode(name="u")
        hold(other, "d2")
        serve(other, deployment="d2", model_served="other", address="10.0.1.1:1")
        hold(lost, "d1", replica="r7")
        serve(lost, role="unknown", replica="r7", address="10.0.1.2:1")
        found = economics(tmp_path, [*nodes, other, lost])

        assert found["llama"]["total_tokens"] is None
        assert "role_unknown" in found["llama"]["reasons"]
        assert pytest.approx(HOUR_TOKENS, rel=0.01) == found["other"]["total_tokens"]


class TestCrossCheck:
    """The vantage that is not counted is compared with the one that is."""

    def test_totals_of_both_vantages_are_kept(self, tmp_path: Path) -> None:
        """Both totals and their difference stand in every row of the deployment's hour."""
        found = counted(tmp_path, [*workers(), front(rates=(20, 10.3))])

        assert [pytest.approx(2 * HOUR_TOKENS, rel=0.01)] * 2 == [row["engines"] for row in found]
        assert [pytest.approx(2.02 * HOUR_TOKENS, rel=0.01)] * 2 == [row["frontends"] for row in found]
        assert [pytest.approx(0.3 / 30.3, rel=0.02)] * 2 == [row["difference"] for row in found]
        assert not any("vantages_differ" in row["reasons"] for row in found)

    def test_vantages_beyond_the_tolerance_say_so(self, tmp_path: Path) -> None:
        """A front end that counts a fifth more is told of where the figure stands."""
        row = economics(tmp_path, [*workers(), front(rates=(24, 12))])["llama"]

        assert "vantages_differ" in row["reasons"]
        assert pytest.approx(2 * HOUR_TOKENS, rel=0.01) == row["total_tokens"]


class TestSilentServer:
    """A server that counted and says nothing more is unknown, not idle."""

    def test_second_server_that_falls_silent_takes_the_slots(self, tmp_path: Path) -> None:
        """A replica counts with two servers: where one is silent, its GPUs and the other's tokens are left out."""
        node = ScriptedNode()
        hold(node, "d1")
        serve(node, address="10.0.0.1:1", server_id="a")
        serve(node, last=1810, address="10.0.0.1:2", server_id="b")
        row = economics(tmp_path, [node])["llama"]

        assert 1790 * 30 == row["cost_matched_tokens"]
        assert "server_fell_silent" in row["reasons"]
        assert pytest.approx(RATE_PER_GPU_HOUR / 2) == row["matched_effective_cost"]

    def test_server_that_another_replaced_is_not_waited_for(self, tmp_path: Path) -> None:
        """Where the processes on the GPU began anew, the server of the earlier ones has gone with them."""
        node = ScriptedNode()
        hold(node, "d1", last=1800)
        hold(node, "d1", first=1800, process_started_at_us=at(1795))
        serve(node, last=1800, address="10.0.0.1:1", server_id="a")
        serve(node, first=1800, address="10.0.0.1:2", server_id="b", process_started_at_us=at(1795))
        row = economics(tmp_path, [node])["llama"]

        assert row["matched_effective_cost"] > 0.9 * RATE_PER_GPU_HOUR
