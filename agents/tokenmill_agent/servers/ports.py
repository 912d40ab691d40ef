"""The process trees of this node, and where their processes listen, each in its own network namespace."""

import dataclasses
import itertools
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from tokenmill_agent.clock import process_start_since_boot_us
from tokenmill_agent.servers.discover import ProcessLife, ancestors

_PROC: Final = Path("/proc")
_LISTEN: Final = "0A"
_FAMILY_MAX: Final = 4096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A port at which a process listens, and the host by which this node reaches it."""

    life: ProcessLife
    host: str
    port: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    parent: int
    session: int


class Processes:
    """The processes of this node as they were at one moment."""

    def __init__(self) -> None:
        self._all = dict(_processes())
        self._children: dict[int, list[int]] = {}
        for pid, process in self._all.items():
            self._children.setdefault(process.parent, []).append(pid)

    def family(self, pid: int) -> list[int]:
        """Return `pid`, its ancestors in the same session, and all that descends from the first of these.

        An engine's workers on the GPUs and its web server stand in one session: a service, a container or a shell.
        """
        known = self._all.get(pid)
        if known is None:
            return []
        top = pid
        for ancestor in ancestors(pid):
            process = self._all.get(ancestor)
            if process is None or process.session != known.session:
                break
            top = ancestor
        return self.below(top)

    def below(self, pid: int) -> list[int]:
        """Return `pid` and all that descends from it."""
        found = [pid]
        for member in found:
            found.extend(self._children.get(member, ())[: _FAMILY_MAX - len(found)])
        return found


def listening(pids: Iterable[int]) -> list[Listening]:
    """Return where these processes listen; a socket that several share is that of the process that began first."""
    lives = [(process_start_since_boot_us(pid), pid) for pid in pids]
    tables: dict[str, dict[int, tuple[IPv4Address | IPv6Address, int]]] = {}
    found: dict[tuple[str, int], Listening] = {}
    taken: set[tuple[str, int]] = set()
    for start_us, pid in sorted((start, pid) for start, pid in lives if start is not None):
        space = _namespace(pid)
        if space is None:
            continue
        if space not in tables:
            tables[space] = dict(_listeners(pid))
        for inode in _sockets(pid):
            if inode not in tables[space] or (space, inode) in taken:
                continue
            taken.add((space, inode))
            address, port = tables[space][inode]
            host = _reached_at(address, pid, space)
            if host is not None:
                life = ProcessLife(pid=pid, start_since_boot_us=start_us)
                found.setdefault((space, port), Listening(life=life, host=host, port=port))
    return list(found.values())


def _processes() -> Iterator[tuple[int, _Process]]:
    for name in os.listdir(_PROC):  # noqa: PTH208 - a Path for each of many thousands costs more than the rest
        if not name.isdigit():
            continue
        try:
            text = (_PROC / name / "stat").read_text(encoding="utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            yield int(name), _Process(parent=int(fields[1]), session=int(fields[3]))
        except (OSError, ValueError, IndexError):
            continue


def _namespace(pid: int) -> str | None:
    try:
        return str((_PROC / str(pid) / "ns" / "net").readlink())
    except OSError:
        return None


def _sockets(pid: int) -> Iterator[int]:
    folder = f"{_PROC}/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - see above
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - see above
        except OSError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _listeners(pid: int) -> Iterator[tuple[int, tuple[IPv4Address | IPv6Address, int]]]:
    """Yield the inode, address and port of every listening socket in the network namespace of `pid`."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (_PROC / str(pid) / "net" / name).read_text(encoding="ascii", errors="replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                host, _, port = fields[1].partition(":")
                yield int(fields[9]), (_address(host), int(port, 16))


def _address(text: str) -> IPv4Address | IPv6Address:
    # The kernel prints each 32-bit word of an address in the byte order of the machine.
    packed = struct.pack(f"={len(text) // 8}I", *(int(text[at : at + 8], 16) for at in range(0, len(text), 8)))
    address = ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address


def _reached_at(address: IPv4Address | IPv6Address, pid: int, space: str) -> str | None:
    """Return the host by which this node reaches a listener; None for the loopback of another namespace."""
    own = space == _namespace(os.getpid())
    if not address.is_unspecified:
        return str(address) if own or not address.is_loopback else None
    if own:
        # A listener of both families is reached at the older one's loopback too.
        return "127.0.0.1" if isinstance(address, IPv4Address) or not _only_v6() else "::1"
    return next(_own_addresses(pid), None)


def _only_v6() -> bool:
    try:
        return (_PROC / "sys/net/ipv6/bindv6only").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def _own_addresses(pid: int) -> Iterator[str]:
    """Yield the addresses of the network namespace of `pid` that are no loopback."""
    try:
        lines = (_PROC / str(pid) / "net" / "fib_trie").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for above, line in itertools.pairwise(lines):
        if line.strip() == "/32 host LOCAL":
            text = above.split()[-1]
            if not ip_address(text).is_loopback:
                yield text


def lives(pids: Iterable[int]) -> Mapping[int, ProcessLife]:
    """Return the lives of the processes that live."""
    starts = {pid: process_start_since_boot_us(pid) for pid in pids}
    return {pid: ProcessLife(pid=pid, start_since_boot_us=start) for pid, start in starts.items() if start is not None}
