"""Tests of placement by the processes on a GPU, with processes that really listen."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.agents.placement.rows import listening_process, on_gpu, server_at
from tests.agents.servers.launched import launched
from tokenmill_agent.clock import DrivenClock, SystemClock
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.placement.process import ProcessPlacer
from tokenmill_agent.records import Placement, Server

GONE = 2**22 - 1


def place(processes: Sequence[GpuProcess], *servers: Server) -> list[Placement]:
    """Place one GPU now."""
    return ProcessPlacer(clock=SystemClock()).place(5, {"GPU-a": processes}, servers)


@pytest.fixture(scope="module")
def first() -> Iterator[tuple[int, int, int]]:
    """Run a server: port, pid, pid of its child."""
    with listening_process() as process:
        yield process


@pytest.fixture(scope="module")
def second() -> Iterator[tuple[int, int, int]]:
    """Run another server."""
    with listening_process() as process:
        yield process


class TestOneHolder:
    """A GPU that one process, or nobody, holds."""

    def test_child_of_the_listening_process(self, first: tuple[int, int, int]) -> None:
        """A worker on the GPU belongs to the server that started it, with its names and labels."""
        port, _, child = first

        (row,) = place([on_gpu(child)], server_at(port))

        assert ("GPU-a", "chat", "r1", "aggregated", "tiny", 1.0, "process", 5) == (
            row.gpu_uuid,
            row.deployment,
            row.replica,
            row.role,
            row.model_served,
            row.share,
            row.basis,
            row.observed_at_us,
        )
        assert {"team": "search"} == row.labels

    def test_listening_process_itself(self, first: tuple[int, int, int]) -> None:
        """An engine that serves and computes in one process is found too."""
        port, pid, _ = first

        assert ["r1"] == [row.replica for row in place([on_gpu(pid)], server_at(port))]

    def test_parent_of_the_listening_process(self, first: tuple[int, int, int]) -> None:
        """A process on the GPU that started its web server as a child is found too."""
        port, _, _ = first

        assert ["r1"] == [row.replica for row in place([on_gpu(os.getpid())], server_at(port))]

    def test_parent_of_two_servers_is_neither(self, first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
        """What stands above several servers belongs to none of them for certain."""
        rows = place([on_gpu(os.getpid())], server_at(first[0]), server_at(second[0], "r2"))

        assert [("unknown_process", None)] == [(row.basis, row.replica) for row in rows]

    def test_process_of_no_known_server(self, first: tuple[int, int, int]) -> None:
        """Something that runs is unattributed, never idle, and has a start."""
        _, pid, _ = first

        (row,) = place([on_gpu(pid)])

        assert ("unknown_process", None, None, 1.0) == (row.basis, row.replica, row.deployment, row.share)
        assert SystemClock().process_started_at_us(pid) == row.process_started_at_us

    def test_process_that_has_ended(self) -> None:
        """A pid that is gone when it is looked up is of no known server."""
        (row,) = place([on_gpu(GONE)])

        assert ("unknown_process", None) == (row.basis, row.process_started_at_us)

    def test_empty_gpu(self) -> None:
        """A GPU that was looked at and has no process is said to be empty."""
        (row,) = place([])

        assert ("empty", None, None, 1.0) == (row.basis, row.replica, row.process_started_at_us, row.share)

    def test_engine_wins_over_a_front_end_in_the_same_process(self, first: tuple[int, int, int]) -> None:
        """Where one process serves as both, the engine holds the weights."""
        port, pid, _ = first
        servers = [server_at(port), server_at(port, "front", vantage="frontend")]

        assert ["r1"] == [row.replica for row in place([on_gpu(pid)], *servers)]


class TestShares:
    """A GPU with several holders."""

    def test_by_memory(self, first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
        """Two servers share by the memory that they use; the shares sum to 1."""
        processes = [on_gpu(first[2], 20), on_gpu(second[2], 40)]

        rows = place(processes, server_at(first[0]), server_at(second[0], "r2"))

        assert {"r1": 0.33, "r2": 0.67} == {row.replica: row.share for row in rows}

    def test_evenly_where_memory_is_not_known(self, first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
        """A driver that does not tell the memory leaves even shares."""
        processes = [on_gpu(first[2], 20), on_gpu(second[2], None)]

        rows = place(processes, server_at(first[0]), server_at(second[0], "r2"))

        assert {"r1": 0.5, "r2": 0.5} == {row.replica: row.share for row in rows}

    def test_processes_of_one_server_are_one_holder(self, first: tuple[int, int, int]) -> None:
        """Two workers of one server on a GPU hold it together."""
        port, pid, child = first

        assert [1.0] == [row.share for row in place([on_gpu(pid, 10), on_gpu(child, 30)], server_at(port))]

    @pytest.mark.parametrize(
        ("gigabytes", "bases"), [(1, {"process": 1.0}), (20, {"process": 0.75, "unknown_process": 0.25})]
    )
    def test_stranger_beside_a_server(
        self, first: tuple[int, int, int], gigabytes: int, bases: dict[str, float]
    ) -> None:
        """A monitor's context is no tenant, a second job is: its part stays unattributed."""
        port, _, child = first

        rows = place([on_gpu(child, 60), on_gpu(GONE, gigabytes)], server_at(port))

        assert bases == {row.basis: row.share for row in rows}

    def test_mig_instances_stay_apart(self, first: tuple[int, int, int]) -> None:
        """A row of a MIG instance names it."""
        port, _, child = first
        processes = [on_gpu(child, 10, mig_uuid="MIG-1"), on_gpu(child, 10, mig_uuid="MIG-2")]

        rows = place(processes, server_at(port))

        assert [("MIG-1", 0.5), ("MIG-2", 0.5)] == [(row.mig_uuid, row.share) for row in rows]


class TestProcessStart:
    """Which start a placement tells."""

    def test_server_word_is_taken_for_the_same_process(self, first: tuple[int, int, int]) -> None:
        """The page's own start, which differs by the kernel's rounding, stays one and the same."""
        port, pid, _ = first
        said = (SystemClock().process_started_at_us(pid) or 0) + 4000

        assert [said] == [
            row.process_started_at_us for row in place([on_gpu(pid)], server_at(port, started_at_us=said))
        ]

    def test_next_process_is_not_the_one_before(self, first: tuple[int, int, int]) -> None:
        """While a restarted server loads, the GPU is held by the new process under the server's names."""
        port, pid, _ = first
        started_at_us = SystemClock().process_started_at_us(pid)

        (row,) = place([on_gpu(pid)], server_at(port, started_at_us=1_700_000_000_000_000))

        assert ("r1", started_at_us) == (row.replica, row.process_started_at_us)

    def test_in_the_time_of_the_clock(self, first: tuple[int, int, int]) -> None:
        """A driven clock says when a process began in its own time."""
        clock = DrivenClock(1_700_000_000_000_000)

        (row,) = ProcessPlacer(clock=clock).place(5, {"GPU-a": [on_gpu(first[1])]}, [server_at(first[0])])

        assert clock.process_started_at_us(first[1]) == row.process_started_at_us


class TestFollower:
    """A node whose processes serve another node's page."""

    def test_is_placed_on_the_leaders_replica(self, tmp_path: Path) -> None:
        """By its own command line, which says where the nodes meet, and the model."""
        flags = ["--headless", "--nnodes", "2", "--node-rank", "1", "--master-addr", "n1", "--master-port", "29501"]
        with launched(tmp_path, "vllm", ["serve", "org/big", *flags, "-tp", "16"]) as server:
            (row,) = place([on_gpu(server.worker)])

        assert ("org/big", "rendezvous:n1:29501", "aggregated", "process") == (
            row.deployment,
            row.replica,
            row.role,
            row.basis,
        )

    def test_without_a_rendezvous_is_unknown(self, tmp_path: Path) -> None:
        """Nothing says whose part it is."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--headless"]) as server:
            (row,) = place([on_gpu(server.worker)])

        assert ("unknown_process", None) == (row.basis, row.replica)


def test_a_process_that_was_found_is_not_searched_for(first: tuple[int, int, int]) -> None:
    """An address that is not this node's is placed too, where its process is known."""
    _, pid, child = first
    far = dataclasses.replace(server_at(1), address="http://192.0.2.1:8000")

    (row,) = ProcessPlacer(clock=SystemClock(), pid_of={far.address: pid}.get).place(
        5, {"GPU-a": [on_gpu(child)]}, [far]
    )

    assert "r1" == row.replica
