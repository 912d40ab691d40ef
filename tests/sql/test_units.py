"""Units that are more than one row of the fact: what is divided must be the whole unit, on both sides."""

from pathlib import Path

import pytest

from tests.scripted import ScriptedNode, at
from tests.scripted_fleet import RATE_PER_GPU_HOUR, economics, serve, watch


def test_whole_unit_costs_though_its_nodes_are_labelled_apart(tmp_path: Path) -> None:
    """A unit over two nodes whose labels differ divides the cost of both by its tokens."""
    leader, follower = ScriptedNode(), ScriptedNode(name="n2")
    watch(leader, lambda s: [leader.placement(0, at(s), "d1", labels={"team": "a"})])
    watch(follower, lambda s: [follower.placement(0, at(s), "d1", labels={"team": "b"})])
    serve(leader, expected_gpu_count=2)
    row = economics(tmp_path, [leader, follower])["llama"]

    assert pytest.approx(2 * RATE_PER_GPU_HOUR) == row["matched_effective_cost"]
    assert pytest.approx(2 * RATE_PER_GPU_HOUR / 54_000 * 1e6, rel=0.01) == row["cost_per_million_tokens"]
    assert pytest.approx(15 / 800 * 1e6, rel=0.01) == row["tokens_per_second_per_megawatt_gpu"]


def test_prefill_and_decode_are_matched_as_one_deployment(tmp_path: Path) -> None:
    """Where the decode side is not counted for twenty minutes, the prefill side is left out for them too."""
    prefill, decode = ScriptedNode(), ScriptedNode(name="n2")
    watch(prefill, lambda s: [prefill.placement(0, at(s), "d1", replica="p", role="prefill")])
    watch(decode, lambda s: [decode.placement(0, at(s), "d1", replica="d", role="decode")])
    serve(prefill, role="prefill", replica="p", address="10.0.0.1:8000")
    serve(decode, first=1200, role="decode", replica="d", address="10.0.0.2:8000")
    row = economics(tmp_path, [prefill, decode])["llama"]

    assert 2400 * 15 == row["cost_matched_tokens"]
    assert pytest.approx(2 * RATE_PER_GPU_HOUR * 2400 / 3600) == row["matched_effective_cost"]


def test_prefill_without_a_decode_server_has_no_ratio(tmp_path: Path) -> None:
    """Half of a disaggregated deployment gives no figure."""
    prefill, decode = ScriptedNode(), ScriptedNode(name="n2")
    watch(prefill, lambda s: [prefill.placement(0, at(s), "d1", replica="p", role="prefill")])
    watch(decode, lambda s: [decode.placement(0, at(s), "d1", replica="d", role="decode")])
    serve(prefill, role="prefill", replica="p")

    assert economics(tmp_path, [prefill, decode])["llama"]["cost_per_million_tokens"] is None


def test_slot_that_a_sharer_was_seen_in_only_in_part_is_not_known(tmp_path: Path) -> None:
    """A share makes a holder's GPU time smaller, not the time for which its tokens must be known."""
    node = ScriptedNode()
    watch(
        node,
        lambda s: [
            node.placement(0, at(s), "d1", share=0.5),
            node.placement(0, at(s), "d2", share=0.5),
        ],
    )
    serve(node, deployment="d1", address="10.0.0.1:1", model_served="m1", server_id="s1")
    serve(node, first=140, deployment="d2", address="10.0.0.1:2", model_served="m2", server_id="s2")
    row = economics(tmp_path, [node])["m2"]

    assert 3300 * 15 == row["cost_matched_tokens"]
    assert pytest.approx(0.5 * RATE_PER_GPU_HOUR * 3300 / 3600) == row["matched_effective_cost"]


def test_unit_is_not_complete_in_the_slot_in_which_a_gpu_joins_it(tmp_path: Path) -> None:
    """The slot in which the second GPU of two arrives is left out on both sides."""
    node = ScriptedNode(gpu_count=2)
    watch(
        node,
        lambda s: [
            node.placement(0, at(s), "d1"),
            node.placement(1, at(s), "d1" if s >= 150 else None),
        ],
    )
    serve(node, expected_gpu_count=2)
    row = economics(tmp_path, [node])["llama"]

    assert 3300 * 15 == row["cost_matched_tokens"]
    assert pytest.approx(2 * RATE_PER_GPU_HOUR * 3300 / 3600) == row["matched_effective_cost"]


def test_bill_of_the_account_that_pays_is_not_added_to_a_rate_card(tmp_path: Path) -> None:
    """A node is not estimated where a bill of another account of its provider names it."""
    busy, empty = ScriptedNode(), ScriptedNode(name="n2")
    watch(busy, lambda s: [busy.placement(0, at(s), "d1")])
    watch(empty, lambda s: [empty.placement(0, at(s), None)])
    serve(busy)
    head = (
        "BillingAccountId,ResourceId,ChargeCategory,BilledCost,EffectiveCost,ChargePeriodStart,ChargePeriodEnd,"
        "BillingPeriodStart,BillingPeriodEnd,BillingCurrency\n"
    )
    times = "2026-03-01T10:00:00Z,2026-03-01T11:00:00Z,2026-03-01T00:00:00Z,2026-04-01T00:00:00Z,USD"
    bill = f"{head}payer,n1,Usage,8,8,{times}\npayer,n2,Usage,4,4,{times}\n"
    found = economics(tmp_path, [busy, empty], bill)

    assert (8.0, 4.0) == (found["llama"]["effective_cost"], found["(idle)"]["effective_cost"])
    assert (12.0, "provisional_bill") == (found["llama"]["all_in_cost"], found["llama"]["cost_status"])


def test_account_without_money_does_not_keep_an_hour_open(tmp_path: Path) -> None:
    """A server on a node without GPUs, in an account of its own, has nothing to settle."""
    node, other = ScriptedNode(), ScriptedNode(name="n2", gpu_count=0, account="elsewhere")
    watch(node, lambda s: [node.placement(0, at(s), "d1")])
    serve(node)
    serve(other, deployment="d9", address="10.0.0.9:1", model_served="router", server_id="r")

    assert "settled" == economics(tmp_path, [node, other])["llama"]["hour_state"]
