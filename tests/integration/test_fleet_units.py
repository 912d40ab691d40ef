"""Units over several nodes, from their own messages through to the marts: with a part missing, no ratio."""

from pathlib import Path
from typing import Any

import pytest

from tests.scripted import ScriptedNode
from tests.scripted_fleet import RATE_PER_GPU_HOUR, WATTS, economics, hold, serve

TOKENS_PER_SECOND = 15
HOW_A_NODE_IS_MISSING = ("silent", "unplaced")


def place(nodes: list[ScriptedNode], missing: int, how: str | None, **unit: Any) -> None:
    """Let all GPUs of the nodes hold one unit, but for the last `missing` nodes, which are silent or see no holder."""
    present = nodes[: len(nodes) - missing]
    for node in present:
        hold(node, "r1", step=30, model_served="DeepSeek-R1", **unit)
    if how == "unplaced":
        for node in nodes[len(present) :]:
            hold(node, None, step=30)


def tensor_parallel_pair(missing: int = 0, how: str | None = None) -> list[ScriptedNode]:
    """Return two nodes of eight GPUs that hold DeepSeek-R1 with TP16; the head alone counts tokens."""
    nodes = [ScriptedNode(name=name, gpu_count=8) for name in ("head", "follower")]
    place(nodes, missing, how)
    serve(nodes[0], deployment="r1", model_served="DeepSeek-R1", tensor_parallel=16, expected_gpu_count=16)
    return nodes


def disaggregated(missing: int = 0, how: str | None = None) -> list[ScriptedNode]:
    """Return two Hopper nodes that prefill, two Blackwell nodes that decode, and a front end; both count prompts."""
    prefill = [ScriptedNode(name=f"prefill-{i}", gpu_count=8) for i in range(2)]
    decode = [ScriptedNode(name=f"decode-{i}", gpu_count=8, gpu_name="NVIDIA B200") for i in range(2)]
    front = ScriptedNode(name="front", gpu_count=0)
    place(prefill, 0, None, replica="p", role="prefill")
    place(decode, missing, how, replica="d", role="decode")
    common: dict[str, Any] = {"deployment": "r1", "model_served": "DeepSeek-R1", "expected_gpu_count": 16}
    serve(prefill[0], rates=(10, 0.1), role="prefill", replica="p", address="10.0.0.1:8000", **common)
    if missing < len(decode):
        serve(decode[0], role="decode", replica="d", address="10.0.0.3:8000", **common)
    serve(front, vantage="frontend", replica="front", address="10.0.0.9:8000", **{**common, "expected_gpu_count": None})
    return [*prefill, *decode, front]


def rack(missing: int = 0, how: str | None = None) -> list[ScriptedNode]:
    """Return a rack of 18 trays of four GPUs that hold one model together."""
    trays = [ScriptedNode(name=f"tray-{i:02}", gpu_count=4, gpu_name="NVIDIA GB200") for i in range(18)]
    place(trays, missing, how)
    serve(trays[0], deployment="r1", model_served="DeepSeek-R1", expected_gpu_count=72)
    return trays


def per_megawatt(gpus: int) -> Any:
    """Return the tokens per second and megawatt that so many GPUs give."""
    return pytest.approx(TOKENS_PER_SECOND / (gpus * WATTS) * 1e6, rel=0.01)


def test_replica_of_two_nodes_divides_by_all_of_its_gpus(tmp_path: Path) -> None:
    """The tokens of the head of a TP16 replica are divided by the energy and cost of both nodes' sixteen GPUs."""
    row = economics(tmp_path, tensor_parallel_pair())["DeepSeek-R1"]

    assert per_megawatt(16) == row["tokens_per_second_per_megawatt_gpu"]
    assert pytest.approx(16 * RATE_PER_GPU_HOUR / 54_000 * 1e6, rel=0.01) == row["cost_per_million_tokens"]


@pytest.mark.parametrize("how", HOW_A_NODE_IS_MISSING)
def test_replica_without_its_follower_has_no_ratio(tmp_path: Path, how: str) -> None:
    """Half of a TP16 replica is not taken for the whole of it."""
    row = economics(tmp_path, tensor_parallel_pair(missing=1, how=how))["DeepSeek-R1"]

    assert (None, None) == (row["tokens_per_second_per_megawatt_gpu"], row["cost_per_million_tokens"])
    assert "replica_gpus_incomplete (8 of 16)" in row["reasons"]
    assert pytest.approx(54_000, rel=0.01) == row["total_tokens"]


def test_prefill_and_decode_on_four_nodes_are_one_figure(tmp_path: Path) -> None:
    """Prompts of the prefill side, answers of the decode side, GPUs of both: one row of both generations."""
    row = economics(tmp_path, disaggregated())["DeepSeek-R1"]

    assert per_megawatt(32) == row["tokens_per_second_per_megawatt_gpu"]
    assert "Hopper+Blackwell" == row["gpu_generation"]
    assert not {"vantages_differ", "vantage_incomplete"} & set(row["reasons"])


@pytest.mark.parametrize("how", HOW_A_NODE_IS_MISSING)
def test_prefill_and_decode_without_a_decode_node_have_no_ratio(tmp_path: Path, how: str) -> None:
    """Half of the decode side withholds the figure of the whole deployment."""
    row = economics(tmp_path, disaggregated(missing=1, how=how))["DeepSeek-R1"]

    assert row["tokens_per_second_per_megawatt_gpu"] is None
    assert "replica_gpus_incomplete (8 of 16)" in row["reasons"]


def test_prefill_without_any_decode_node_has_no_ratio(tmp_path: Path) -> None:
    """A front end that counts for all does not lend its tokens to the half of the GPUs that are seen."""
    row = economics(tmp_path, disaggregated(missing=2, how="silent"))["DeepSeek-R1"]

    assert row["tokens_per_second_per_megawatt_gpu"] is None
    assert row["cost_per_million_tokens"] is None


def test_rack_is_one_unit(tmp_path: Path) -> None:
    """Seventy-two GPUs of eighteen trays divide the tokens that one of them counts."""
    row = economics(tmp_path, rack())["DeepSeek-R1"]

    assert per_megawatt(72) == row["tokens_per_second_per_megawatt_gpu"]


@pytest.mark.parametrize(("missing", "how"), [(1, "silent"), (9, "unplaced")])
def test_rack_without_some_trays_has_no_ratio(tmp_path: Path, missing: int, how: str) -> None:
    """A rack of which one tray, or half, is not seen gives no figure."""
    row = economics(tmp_path, rack(missing, how))["DeepSeek-R1"]

    assert row["tokens_per_second_per_megawatt_gpu"] is None
    assert f"replica_gpus_incomplete ({72 - 4 * missing} of 72)" in row["reasons"]
