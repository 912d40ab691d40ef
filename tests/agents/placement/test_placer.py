"""Tests of what wins where several sources place a GPU."""

import os

import pytest

from tests.agents.placement.rows import listening_process, on_gpu, server_at
from tokenmill_agent.clock import SystemClock
from tokenmill_agent.errors import UsageError
from tokenmill_agent.placement.placer import Placer
from tokenmill_agent.placement.settings import PlacementSettings

FIRST = PlacementSettings(gpus=("0",), deployment="batch", replica="b1")


def placer(*settings: PlacementSettings) -> Placer:
    """Return a placer on this machine's clock."""
    return Placer(settings, clock=SystemClock())


def test_configuration_wins_over_processes() -> None:
    """A configured GPU has no other row, whatever runs there; the others go by process."""
    with listening_process() as (port, pid, _):
        processes = {"GPU-a": [on_gpu(pid)], "GPU-b": [on_gpu(pid)], "GPU-c": []}

        rows = placer(FIRST).place(5, processes, [server_at(port)])

    assert [("GPU-a", "static", "b1"), ("GPU-b", "process", "r1"), ("GPU-c", "empty", None)] == [
        (row.gpu_uuid, row.basis, row.replica) for row in rows
    ]


@pytest.mark.parametrize("processes", [None, {"GPU-a": None}])
def test_not_looked_is_not_empty(processes: dict[str, None] | None) -> None:
    """A GPU whose processes could not be asked has no row."""
    assert [] == placer().place(5, processes, [])


def test_one_silent_gpu_does_not_hide_the_others() -> None:
    """Only the GPU that could not be asked has no row."""
    rows = placer().place(5, {"GPU-a": None, "GPU-b": []}, [])

    assert [("GPU-b", "empty")] == [(row.gpu_uuid, row.basis) for row in rows]


def test_configuration_holds_while_processes_cannot_be_asked() -> None:
    """The GPUs are known from an earlier look."""
    always = placer(FIRST)
    always.place(5, {"GPU-a": [on_gpu(os.getpid())]}, [])

    assert [("GPU-a", "static", 6)] == [
        (row.gpu_uuid, row.basis, row.observed_at_us) for row in always.place(6, None, [])
    ]


def test_shares_above_one_stop_the_agent() -> None:
    """A configuration that spends a GPU twice is refused as soon as the GPUs are known."""
    with pytest.raises(UsageError, match="sum to more than 1"):
        placer(FIRST, FIRST).place(5, {"GPU-a": []}, [])
