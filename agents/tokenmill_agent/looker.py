"""Looks at the inference servers and at what holds the GPUs, beside the sampler, which never waits for it."""

import dataclasses
import queue
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.records import Placement, Server
from tokenmill_agent.servers.scrape import TokenLook, join_looks

Processes = Mapping[str, Sequence[GpuProcess] | None]

_WAITING_LOOKS_MAX: Final = 1000


class TokenSource(Protocol):
    """Reads the counters of every server once."""

    def look(self) -> TokenLook:
        """Return one row per series, or why there is none."""
        ...


class Finder(Protocol):
    """Looks for servers that nobody configured."""

    def find(self, gpu_pids: Collection[int]) -> bool:
        """Look for the servers of these processes; say whether other ones are known than before."""
        ...


class PlacementSource(Protocol):
    """Says what holds each GPU."""

    def place(self, observed_at_us: int, processes: Processes | None, servers: Sequence[Server]) -> Sequence[Placement]:
        """Return the sightings of one moment."""
        ...


class Looker:
    """Runs looks one after the other, in a thread of its own or, on a driven clock, in line."""

    def __init__(
        self,
        *,
        clock: Clock,
        tokens: TokenSource | None,
        placements: PlacementSource,
        background: bool,
        finder: Finder | None = None,
    ) -> None:
        """Look at nothing yet."""
        self._clock = clock
        self._tokens = tokens
        self._placements = placements
        self._finder = finder
        self._changed = threading.Condition()
        self._pending: set[str] = set()
        self._failure: Exception | None = None
        self._looks: list[TokenLook] = []
        self._servers: tuple[Server, ...] = ()
        self._servers_changed = False
        self._log = PlacementLog()
        self._jobs: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._background = background
        if background:
            threading.Thread(target=self._work, name="looker", daemon=True).start()

    def look_at_tokens(self) -> bool:
        """Begin a look at the servers; False where the one before is not done."""
        return self._begin("tokens", self._look)

    def look_at_placements(self, processes: Processes | None) -> bool:
        """Begin a look at what holds the GPUs, given their processes; False where the one before is not done."""
        observed_at_us = self._clock.now_us()
        return self._begin("placements", lambda: self._place(observed_at_us, processes))

    def servers_changed(self) -> bool:
        """Say, once for each change, whether other servers or process lives were seen than before."""
        with self._changed:
            changed, self._servers_changed = self._servers_changed, False
            return changed

    def take_looks(self) -> TokenLook | None:
        """Return the looks since the last call as one, None where there were none."""
        with self._changed:
            looks, self._looks = self._looks, []
        return join_looks(looks) if looks else None

    def take_placements(self) -> list[Placement]:
        """Return the latest sightings, and the ones at which something changed since the last call."""
        with self._changed:
            return self._log.take()

    def raise_if_failed(self) -> None:
        """Raise what a look raised since the last call."""
        with self._changed:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the looks that were begun; False where they do not end in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_seconds)

    def close(self) -> None:
        """End the thread once its look returns; does not wait for it."""
        self._jobs.put(None)

    def _begin(self, name: str, job: Callable[[], None]) -> bool:
        if not self._background:
            job()
            return True
        with self._changed:
            if name in self._pending:
                return False
            self._pending.add(name)
        self._jobs.put((name, job))
        return True

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            name, job = item
            failure: Exception | None = None
            try:
                job()
            except Exception as error:  # noqa: BLE001 - handed on: the agent's loop raises and counts it
                failure = error
            with self._changed:
                self._failure = failure or self._failure
                self._pending.discard(name)
                self._changed.notify_all()

    def _look(self) -> None:
        if self._tokens is None:
            return
        look = self._tokens.look()
        with self._changed:
            self._looks.append(look)
            # Only a sender that stands still lets looks pile up; counters are cumulative, the newest say the most.
            del self._looks[:-_WAITING_LOOKS_MAX]
            self._servers_changed |= _lives(look.servers) != _lives(self._servers)
            self._servers = tuple(look.servers)

    def _place(self, observed_at_us: int, processes: Processes | None) -> None:
        if self._finder is not None and processes is not None and self._finder.find(gpu_pids(processes)):
            # At once: what holds a GPU is known by the server, and every second before the first look is lost to it.
            self._look()
        found = self._placements.place(observed_at_us, processes, self._servers)
        with self._changed:
            self._log.add(found)


class PlacementLog:
    """The sightings that a message carries: the latest, and on a change the last before and the first after it.

    The first look of a run is a change too: from it on the GPUs are known to be held.
    """

    def __init__(self) -> None:
        """Know of no sighting."""
        self._sightings: list[list[Placement]] = []
        self._first_after_change = False

    def add(self, placements: Sequence[Placement]) -> None:
        """Take the sightings of one look."""
        sighting = list(placements)
        same = bool(self._sightings) and _content(self._sightings[-1]) == _content(sighting)
        if same and not self._first_after_change:
            self._sightings[-1] = sighting
            return
        self._first_after_change = not same
        self._sightings.append(sighting)

    def take(self) -> list[Placement]:
        """Return them in order; the latest is kept, since every message carries it."""
        taken = [placement for sighting in self._sightings for placement in sighting]
        self._sightings = self._sightings[-1:]
        self._first_after_change = False
        return taken


def gpu_pids(processes: Processes) -> set[int]:
    """Return every process that is on some GPU."""
    return {process.pid for on_gpu in processes.values() for process in on_gpu or ()}


def _content(placements: Sequence[Placement]) -> list[Any]:
    return [dataclasses.replace(placement, observed_at_us=0) for placement in placements]


def _lives(servers: Sequence[Server]) -> list[str]:
    return sorted(server.server_id for server in servers)
