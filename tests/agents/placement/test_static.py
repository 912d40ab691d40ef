"""Tests of placements by configuration."""

import pytest

from tests.agents.placement.rows import server_at
from tokenmill_agent.errors import UsageError
from tokenmill_agent.placement.settings import PlacementSettings
from tokenmill_agent.placement.static import resolve, static_placements

GPUS = ("GPU-a", "GPU-b", "GPU-c")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("all",), GPUS),
        (("1",), ("GPU-b",)),
        (("1-2", "1"), ("GPU-b", "GPU-c")),
        (("GPU-c", "GPU-elsewhere"), ("GPU-c",)),
        (("7", "2-9"), ("GPU-c",)),
        (("2-1",), ()),
    ],
)
def test_resolve_names_each_gpu_of_this_node_once(wanted: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """UUIDs, indexes, ranges and `all` name GPUs; what is not here is passed over, so that nodes can share a file."""
    assert list(expected) == resolve(wanted, GPUS)


def test_a_row_carries_what_the_server_tells() -> None:
    """What the placement does not say is taken from the server of the same replica."""
    settings = PlacementSettings(gpus=("0",), deployment="chat", replica="r1", labels={"owner": "o"}, share=0.5)

    (row,) = static_placements([settings], gpus=GPUS, servers=[server_at(1, started_at_us=7)], observed_at_us=9)

    assert ("GPU-a", "chat", "r1", "aggregated", "tiny", 7, 0.5, "static", 9) == (
        row.gpu_uuid,
        row.deployment,
        row.replica,
        row.role,
        row.model_served,
        row.process_started_at_us,
        row.share,
        row.basis,
        row.observed_at_us,
    )
    assert {"owner": "o"} == row.labels


def test_two_replicas_share_a_gpu() -> None:
    """Each has its own row with its share."""
    halves = [PlacementSettings(gpus=("0",), deployment="chat", replica=name, share=0.5) for name in ("r1", "r2")]

    rows = static_placements(halves, gpus=GPUS, servers=[], observed_at_us=0)

    assert [("r1", 0.5), ("r2", 0.5)] == [(row.replica, row.share) for row in rows]


def test_more_than_one_gpu_is_refused() -> None:
    """Shares of a GPU that sum to more than 1 would spend its cost twice."""
    whole = [PlacementSettings(gpus=gpus, deployment="chat", replica="r1") for gpus in (("all",), ("GPU-b",))]

    with pytest.raises(UsageError, match="the shares of GPU-b sum to more than 1"):
        static_placements(whole, gpus=GPUS, servers=[], observed_at_us=0)
