"""Placements by the processes that the driver sees on each GPU: whose process tree is it, and who listens there."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.records import Placement, Role, Server
from tokenmill_agent.servers.cmdline import read_launch
from tokenmill_agent.servers.discover import Listeners, ancestors, local_addresses

UNKNOWN_SHARE_MIN: Final = 0.05
"""A process of no known server beside a known one holds the GPU too from this share of the used memory on."""

_SAME_PROCESS_US: Final = 5_000_000
_SHARE_STEP: Final = 0.01


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """Who holds a GPU, or a MIG instance of it: the server that listens as `pid`, or None for no known server."""

    pid: int | None
    mig_uuid: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """The names that a GPU gets."""

    deployment: str | None
    replica: str | None
    role: Role | None
    model_served: str | None
    labels: dict[str, str]
    process_started_at_us: int | None


class ProcessPlacer:
    """Places GPUs by process. A process belongs to the server whose listening process is itself, above or below it."""

    def __init__(self, *, clock: Clock, pid_of: Callable[[str], int | None] = lambda _: None) -> None:
        """Search for who listens at a server's address where `pid_of` does not know it."""
        self._clock = clock
        self._pid_of = pid_of
        self._listeners = Listeners()
        self._addresses: dict[str, frozenset[bytes]] = {}

    def place(
        self, observed_at_us: int, processes: Mapping[str, Sequence[GpuProcess]], servers: Sequence[Server]
    ) -> list[Placement]:
        """Return the rows of every GPU of `processes`: its holders with their shares, or one row that it is empty."""
        # Finding who listens is dear while a server is down, and of no use while nothing runs.
        by_pid: dict[int, _Unit] = {}
        if any(processes.values()):
            by_pid.update((pid, _unit(server)) for pid, server in self._by_listening_pid(servers).items())
            by_pid.update(_followers(processes, by_pid))
        rows = []
        for gpu, on_gpu in processes.items():
            holders = _holders(on_gpu, by_pid)
            shares = _shares({holder: _memory(held) for holder, held in holders.items()})
            for holder, share in shares.items():
                unit = by_pid[holder.pid] if holder.pid is not None else None
                started_at_us = self._started_at_us(holder.pid, unit, holders[holder])
                rows.append(
                    _row(observed_at_us, gpu, holder.mig_uuid, unit, process_started_at_us=started_at_us, share=share)
                )
            if not on_gpu:
                rows.append(_empty(observed_at_us, gpu))
        return rows

    def _by_listening_pid(self, servers: Sequence[Server]) -> dict[int, Server]:
        found: dict[int, Server] = {}
        # Where one process is an engine and a front end, the engine is what holds the weights.
        for server in sorted(servers, key=lambda server: server.vantage == "engine"):
            pid = self._pid_of(server.address)
            if pid is not None:
                found[pid] = server
                continue
            parts = urlsplit(server.address)
            host = parts.hostname or ""
            if host not in self._addresses:
                self._addresses[host] = local_addresses(host)
            life = self._listeners.find(self._addresses[host], parts.port or 0) if self._addresses[host] else None
            if life is not None:
                found[life.pid] = server
        return found

    def _started_at_us(self, pid: int | None, unit: _Unit | None, held: Sequence[GpuProcess]) -> int | None:
        if pid is None or unit is None:
            starts = [self._clock.process_started_at_us(process.pid) for process in held]
            return min((start for start in starts if start is not None), default=None)
        start, said = self._clock.process_started_at_us(pid), unit.process_started_at_us
        if said is None or (start is not None and abs(start - said) > _SAME_PROCESS_US):
            # The server's own word is of an earlier process where the next one is still loading.
            return start
        return said


def _unit(server: Server) -> _Unit:
    return _Unit(
        deployment=server.deployment,
        replica=server.replica,
        role=server.role,
        model_served=server.model_served,
        labels=server.labels,
        process_started_at_us=server.process_started_at_us,
    )


def _followers(
    processes: Mapping[str, Sequence[GpuProcess]], by_pid: Mapping[int, _Unit]
) -> Iterator[tuple[int, _Unit]]:
    """Yield the launches on this node whose page another node shows, with the names that the other node gives."""
    for pid in {process.pid for on_gpu in processes.values() for process in on_gpu}:
        above = list(ancestors(pid))
        if any(one in by_pid for one in above):
            continue
        for one in above:
            launch = read_launch(one)
            if launch is not None and launch.follower and launch.model is not None and launch.rendezvous is not None:
                unit = _Unit(
                    deployment=launch.model,
                    replica=launch.rendezvous,
                    role=launch.role or "aggregated",
                    model_served=launch.model,
                    labels={},
                    process_started_at_us=None,
                )
                yield one, unit
                break


def _row(
    observed_at_us: int,
    gpu: str,
    mig_uuid: str | None,
    unit: _Unit | None,
    *,
    process_started_at_us: int | None,
    share: float,
) -> Placement:
    return Placement(
        observed_at_us=observed_at_us,
        gpu_uuid=gpu,
        mig_uuid=mig_uuid,
        deployment=unit.deployment if unit is not None else None,
        replica=unit.replica if unit is not None else None,
        role=unit.role if unit is not None else None,
        model_served=unit.model_served if unit is not None else None,
        labels=unit.labels if unit is not None else {},
        process_started_at_us=process_started_at_us,
        share=share,
        basis="process" if unit is not None else "unknown_process",
    )


def _holders(processes: Iterable[GpuProcess], by_pid: Mapping[int, _Unit]) -> dict[_Holder, list[GpuProcess]]:
    holders: dict[_Holder, list[GpuProcess]] = {}
    for process in processes:
        holder = _Holder(pid=_listening_pid(process.pid, by_pid), mig_uuid=process.mig_uuid)
        holders.setdefault(holder, []).append(process)
    return holders


def _listening_pid(pid: int, by_pid: Mapping[int, _Unit]) -> int | None:
    above = next((ancestor for ancestor in ancestors(pid) if ancestor in by_pid), None)
    if above is not None:
        return above
    below = [listener for listener in by_pid if pid in ancestors(listener)]
    return below[0] if len(below) == 1 else None


def _memory(processes: Sequence[GpuProcess]) -> int | None:
    used = [process.used_memory_bytes for process in processes]
    return None if None in used else sum(size for size in used if size is not None)


def _shares(memory: Mapping[_Holder, int | None]) -> dict[_Holder, float]:
    """Split a GPU among its holders by the memory that they use, evenly where that is not known, to 1 percent."""
    total = sum(size for size in memory.values() if size is not None)
    even = total == 0 or None in memory.values()
    parts = {holder: 1 / len(memory) if even else (size or 0) / total for holder, size in memory.items()}
    if any(holder.pid is not None for holder in parts):
        # A monitor's context is no second tenant.
        parts = {holder: part for holder, part in parts.items() if holder.pid is not None or part >= UNKNOWN_SHARE_MIN}
    whole = sum(parts.values())
    return _to_one({holder: max(_SHARE_STEP, round(part / whole, 2)) for holder, part in parts.items()})


def _to_one(shares: dict[_Holder, float]) -> dict[_Holder, float]:
    if shares:
        largest = max(shares, key=lambda holder: shares[holder])
        rest = sum(share for holder, share in shares.items() if holder != largest)
        shares[largest] = round(1 - rest, 2)
    return shares


def _empty(observed_at_us: int, gpu: str) -> Placement:
    return Placement(
        observed_at_us=observed_at_us,
        gpu_uuid=gpu,
        mig_uuid=None,
        deployment=None,
        replica=None,
        role=None,
        model_served=None,
        labels={},
        process_started_at_us=None,
        share=1.0,
        basis="empty",
    )
