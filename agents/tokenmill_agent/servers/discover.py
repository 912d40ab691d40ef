"""Whose process a local server is: the one that holds the listening socket of its port, as /proc tells it."""

import dataclasses
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from tokenmill_agent.clock import process_start_since_boot_us

_PROC: Final = Path("/proc")
_LISTEN: Final = "0A"
_ANCESTORS_MAX: Final = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLife:
    """One life of a process id; the start is counted from the boot of the node, so that no clock step moves it."""

    pid: int
    start_since_boot_us: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    life: ProcessLife
    descriptor: int
    inode: int


class Listeners:
    """Finds the process that listens at a port of this node; remembers it as long as it still holds the socket.

    Several threads may call it: one walk over the descriptors of the node is dear, two at once are of no use.
    """

    def __init__(self) -> None:
        self._walks = threading.Lock()
        self._holders: dict[tuple[frozenset[bytes], int], _Holder] = {}
        self._hidden: set[int] = set()

    def find(self, addresses: frozenset[bytes], port: int) -> ProcessLife | None:
        """Return the process that listens on one of `addresses` at `port`; None where there is none to be seen.

        Where several processes share the socket, as the workers of one front end do, it is the one that began first.
        """
        known = self.known(addresses, port)
        if known is not None:
            return known
        with self._walks:
            holder = self._look(addresses, port)
        if holder is None:
            return None
        self._holders[addresses, port] = holder
        return holder.life

    def known(self, addresses: frozenset[bytes], port: int) -> ProcessLife | None:
        """Return the process that was found before, if it still holds its socket; this costs next to nothing."""
        holder = self._holders.get((addresses, port))
        if holder is not None and not _still_holds(holder):
            holder = None
            self._holders.pop((addresses, port), None)
        return holder.life if holder is not None else None

    def _look(self, addresses: frozenset[bytes], port: int) -> _Holder | None:
        inodes = _listening_inodes(addresses, port)
        # Walking over all descriptors of a busy node is dear: sockets whose owner may not be seen are looked for once.
        if not inodes - self._hidden:
            return None
        holders = list(_holders(inodes))
        if not holders:
            self._hidden = inodes if len(self._hidden) > 1000 else self._hidden | inodes
            return None
        return min(holders, key=lambda holder: (holder.life.start_since_boot_us, holder.life.pid))


def local_addresses(host: str) -> frozenset[bytes]:
    """Return the packed addresses of `host` if every one belongs to this node, else nothing."""
    found = set()
    for family, address in _resolve(host):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                # The kernel lets a socket be bound to an address of this node only.
                probe.bind((address, 0))
            except OSError:
                return frozenset()
        found.add(ip_address(address).packed)
    return frozenset(found)


def ancestors(pid: int) -> Iterator[int]:
    """Yield `pid`, its parent, its parent's parent and so on, without the init process."""
    for _ in range(_ANCESTORS_MAX):
        if pid <= 1:
            return
        yield pid
        parent = _parent(pid)
        if parent is None:
            return
        pid = parent


def _resolve(host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    internet = (socket.AF_INET, socket.AF_INET6)
    return [(family, str(address[0]).partition("%")[0]) for family, _, _, _, address in found if family in internet]


def _listening_inodes(addresses: frozenset[bytes], port: int) -> set[int]:
    # A listener of both families stands in the second table; each table costs the kernel milliseconds.
    for name in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / name).read_text(encoding="ascii", errors="replace").splitlines()[1:]
        except OSError:
            continue
        rows = (line.split() for line in lines if f" {_LISTEN} " in line)
        inodes = {int(fields[9]) for fields in rows if len(fields) > 9 and _matches(fields[1], addresses, port)}
        if inodes:
            return inodes
    return set()


def _matches(local: str, addresses: frozenset[bytes], port: int) -> bool:
    host, _, port_text = local.partition(":")
    if int(port_text, 16) != port:
        return False
    # The kernel prints each 32-bit word of an address in the byte order of the machine.
    words = struct.pack(f"={len(host) // 8}I", *(int(host[at : at + 8], 16) for at in range(0, len(host), 8)))
    mapped = words[12:] if words.startswith(bytes(10) + b"\xff\xff") else words
    return not any(words) or not any(mapped) or mapped in addresses


def _holders(inodes: set[int]) -> Iterator[_Holder]:
    targets = {f"socket:[{inode}]": inode for inode in inodes}
    for process in os.scandir(_PROC):
        if not process.name.isdigit():
            continue
        pid = int(process.name)
        start_us = process_start_since_boot_us(pid)
        for descriptor, target in _descriptors(pid):
            if start_us is not None and target in targets:
                life = ProcessLife(pid=pid, start_since_boot_us=start_us)
                yield _Holder(life=life, descriptor=descriptor, inode=targets[target])
                break


def _descriptors(pid: int) -> Iterator[tuple[int, str]]:
    try:
        with os.scandir(_PROC / str(pid) / "fd") as entries:
            for entry in entries:
                target = _target(entry.path)
                if target is not None:
                    yield int(entry.name), target
    except OSError:
        return


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - a node has 100,000 of them, and a Path for each costs five times more
    except OSError:
        return None


def _still_holds(holder: _Holder) -> bool:
    life = holder.life
    target = _target(f"{_PROC}/{life.pid}/fd/{holder.descriptor}")
    return target == f"socket:[{holder.inode}]" and process_start_since_boot_us(life.pid) == life.start_since_boot_us


def _parent(pid: int) -> int | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        # The second field is the program's name in parentheses and may hold spaces and parentheses itself.
        return int(text.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
