"""Looks at servers and placements: in line or beside the sampler, one at a time."""

import threading
from collections.abc import Callable, Collection, Sequence

import pytest

from tests.agents.sample_messages import placement, server, token_samples
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.errors import UsageError
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.looker import Looker, PlacementLog, Processes
from tokenmill_agent.records import Placement, Series, Server
from tokenmill_agent.servers.scrape import TokenLook

NOW_US = 1_795_000_000_000_000


def look_at(*servers: Server) -> TokenLook:
    """Return a look at which the first server counted 7 tokens."""
    return TokenLook(servers=list(servers), series=[Series(server=0, rank=0)], samples=token_samples(7), problems={})


class Scripted:
    """Servers and placements as a test says."""

    def __init__(self) -> None:
        self.looks: list[Callable[[], TokenLook]] = []
        self.placed: list[tuple[int, Processes | None, Sequence[Server]]] = []
        self.error: Exception | None = None

    def look(self) -> TokenLook:
        """Return the next look."""
        return self.looks.pop(0)()

    def place(self, observed_at_us: int, processes: Processes | None, servers: Sequence[Server]) -> Sequence[Placement]:
        """Remember what was asked, and place one GPU."""
        if self.error is not None:
            raise self.error
        self.placed.append((observed_at_us, processes, servers))
        return [placement(observed_at_us=observed_at_us)]


def looker(scripted: Scripted, *, background: bool = False) -> Looker:
    """Return a looker on a driven clock."""
    return Looker(clock=DrivenClock(NOW_US), tokens=scripted, placements=scripted, background=background)


class TestLooker:
    """One look at a time."""

    def test_looks_are_taken_once_and_joined(self) -> None:
        """Two looks at one server are one list of servers and two rows."""
        scripted = Scripted()
        scripted.looks = [lambda: look_at(server("a")), lambda: look_at(server("a"))]
        one = looker(scripted)
        one.look_at_tokens()
        one.look_at_tokens()
        taken = one.take_looks()

        assert taken is not None
        assert (["a"], [7, 7]) == ([found.server_id for found in taken.servers], taken.samples.input_tokens)
        assert None is one.take_looks()

    def test_a_node_without_servers_has_no_looks(self) -> None:
        """Nothing to look at is not an error."""
        one = Looker(clock=DrivenClock(NOW_US), tokens=None, placements=Scripted(), background=False)

        assert one.look_at_tokens()
        assert None is one.take_looks()

    def test_placements_see_processes_and_the_last_servers(self) -> None:
        """With the moment at which the processes were asked for."""
        scripted = Scripted()
        scripted.looks = [lambda: look_at(server("a"))]
        one = looker(scripted)
        one.look_at_tokens()
        one.look_at_placements({"GPU-a": None})

        assert [(NOW_US, {"GPU-a": None}, (server("a"),))] == scripted.placed
        assert [placement(observed_at_us=NOW_US)] == one.take_placements()

    def test_a_new_process_life_is_a_change_once(self) -> None:
        """The first servers, and a server that was restarted."""
        scripted = Scripted()
        scripted.looks = [lambda: look_at(server("a")), lambda: look_at(server("a")), lambda: look_at(server("b"))]
        one = looker(scripted)
        changes = []
        for _ in range(3):
            one.look_at_tokens()
            changes.append((one.servers_changed(), one.servers_changed()))

        assert [(True, False), (False, False), (True, False)] == changes

    def test_a_slow_look_is_not_begun_twice_and_holds_nobody_up(self) -> None:
        """A second look is refused while the first runs; a placement waits for its turn."""
        released = threading.Event()
        scripted = Scripted()
        scripted.looks = [lambda: look_at(server("a")) if released.wait(60) else look_at()]
        one = looker(scripted, background=True)

        assert one.look_at_tokens()
        assert not one.look_at_tokens()
        assert one.look_at_placements(None)
        assert [] == one.take_placements()

        released.set()

        assert one.wait(60)
        assert [(NOW_US, None, (server("a"),))] == scripted.placed
        one.close()

    def test_what_a_look_raised_is_raised_where_the_agent_sees_it(self) -> None:
        """Once; the thread goes on."""
        scripted = Scripted()
        scripted.error = UsageError("the shares of GPU-a sum to more than 1")
        one = looker(scripted, background=True)
        one.look_at_placements(None)
        one.wait(60)
        with pytest.raises(UsageError, match="sum to more than 1"):
            one.raise_if_failed()
        one.raise_if_failed()
        scripted.error = None
        one.look_at_placements(None)
        one.wait(60)

        assert 1 == len(one.take_placements())
        one.close()

    def test_a_look_that_does_not_end_is_not_waited_for_for_ever(self) -> None:
        """The caller learns that it did not end."""
        released = threading.Event()
        scripted = Scripted()
        scripted.looks = [lambda: look_at(server("a")) if released.wait(60) else look_at()]
        one = looker(scripted, background=True)
        one.look_at_tokens()

        assert not one.wait(0.01)

        released.set()
        one.close()


class TestPlacementLog:
    """What a message carries of the sightings."""

    def test_the_latest_is_in_every_message(self) -> None:
        """Also where nobody looked since the last one."""
        log = PlacementLog()
        log.add([placement(observed_at_us=1)])

        assert [1] == [row.observed_at_us for row in log.take()]
        assert [1] == [row.observed_at_us for row in log.take()]

    def test_sightings_of_the_same_are_one(self) -> None:
        """Only the first of the run, from which on the holder is known, and the newest are kept."""
        log = PlacementLog()
        for at_us in range(1, 100):
            log.add([placement(observed_at_us=at_us)])

        assert [1, 99] == [row.observed_at_us for row in log.take()]
        assert [99] == [row.observed_at_us for row in log.take()]

    def test_a_change_shows_its_last_before_and_first_after(self) -> None:
        """So that the moment of the change is known to one look, however long a message waits."""
        log = PlacementLog()
        for at_us in (1, 2, 3):
            log.add([placement("old", observed_at_us=at_us)])
        for at_us in (4, 5, 6):
            log.add([placement("new", observed_at_us=at_us)])

        assert [("old", 1), ("old", 3), ("new", 4), ("new", 6)] == [
            (row.replica, row.observed_at_us) for row in log.take()
        ]

    def test_a_change_after_a_message_shows_the_last_that_was_sent(self) -> None:
        """A second sending of a sighting says the same and changes nothing."""
        log = PlacementLog()
        log.add([placement("old", observed_at_us=1)])
        log.take()
        log.add([placement("new", observed_at_us=2)])

        assert [("old", 1), ("new", 2)] == [(row.replica, row.observed_at_us) for row in log.take()]
        assert [("new", 2)] == [(row.replica, row.observed_at_us) for row in log.take()]

    def test_nothing_seen_is_nothing_sent(self) -> None:
        """Not looked is not empty."""
        assert [] == PlacementLog().take()


class Finding:
    """A finder that says what a test says."""

    def __init__(self, *changes: bool) -> None:
        self.changes = list(changes)
        self.asked: list[set[int]] = []

    def find(self, gpu_pids: Collection[int]) -> bool:
        """Remember what was asked."""
        self.asked.append(set(gpu_pids))
        return self.changes.pop(0)


class TestFinder:
    """Servers that nobody configured."""

    def test_a_server_that_is_found_is_looked_at_before_the_gpus_are_placed(self) -> None:
        """With the processes of all GPUs; once it is known, placements look at no page."""
        scripted, finding = Scripted(), Finding(True, False)
        scripted.looks = [lambda: look_at(server("a"))]
        one = Looker(clock=DrivenClock(NOW_US), tokens=scripted, placements=scripted, background=False, finder=finding)
        process = GpuProcess(pid=7, used_memory_bytes=None, mig_uuid=None)
        processes: Processes = {"GPU-a": [process], "GPU-b": None}
        for _ in range(2):
            one.look_at_placements(processes)

        assert [{7}, {7}] == finding.asked
        assert [(NOW_US, processes, (server("a"),))] * 2 == scripted.placed
