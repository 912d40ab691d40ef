"""Finds the servers of a node that nobody configured: from the processes on its GPUs to the pages they show."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from tokenmill_agent.clock import process_start_since_boot_us
from tokenmill_agent.servers.cmdline import Launch, read_launch
from tokenmill_agent.servers.counters import count_page
from tokenmill_agent.servers.discover import ProcessLife, ancestors
from tokenmill_agent.servers.engines import METRICS_PATHS, TABLES
from tokenmill_agent.servers.exposition import PageError
from tokenmill_agent.servers.fetch import FetchError, fetch
from tokenmill_agent.servers.identity import is_due
from tokenmill_agent.servers.ports import Listening, Processes, listening, lives

_log = logging.getLogger(__name__)

NO_PAGE: Final = "no metrics page was found"

_TIMEOUT_SECONDS: Final = 1.0
_MAX_BYTES: Final = 16 * 1024 * 1024
_PORTS_MAX: Final = 16
_ASKED_MAX: Final = 4096
_SHOWS_NOTHING: Final = ("status 404", "status 405", "status 501")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A server that was found: where its page is and whose process it is; `engine` is None while it shows no page."""

    url: str
    port: int
    engine: str | None
    life: ProcessLife
    launch: Launch | None


@dataclasses.dataclass(slots=True, kw_only=True)
class _Asked:
    """How often a port was asked in vain, and whether it answered something else than a page."""

    times: int = 0
    answered: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Processes that belong together, at most one server among them; `root` names them."""

    root: int
    launch: Launch | None
    pids: tuple[int, ...]


class Finder:
    """Looks for servers in the trees of GPU processes, and remembers them while they live. One thread calls it."""

    def __init__(self, is_configured: Callable[[str, int], bool]) -> None:
        """Leave the hosts and ports to the configuration for which `is_configured` says so."""
        self._is_configured = is_configured
        self._settled: dict[ProcessLife, ProcessLife | None] = {}
        self._asked: dict[tuple[ProcessLife, int], _Asked] = {}
        self.found: dict[ProcessLife, Found] = {}
        self.problems: dict[str, str] = {}

    def find(self, gpu_pids: Collection[int]) -> bool:
        """Look for the servers of these processes; return whether other ones are known than before.

        Costs next to nothing where every process is known already.
        """
        before = set(self.found)
        said = self.problems
        self.drop_ended()
        self.problems = {}
        now = lives(gpu_pids)
        self._settled = {life: of for life, of in self._settled.items() if life in now.values()}
        open_pids = [pid for pid, life in now.items() if life not in self._settled]
        if open_pids:
            tree = Processes()
            for group in _groups(tree, open_pids):
                self._look(group, [now[pid] for pid in open_pids if pid in group.pids])
        for where, problem in self.problems.items():
            if said.get(where) != problem:
                _log.warning("%s: %s", where, problem)
        return set(self.found) != before

    def drop_ended(self) -> None:
        """Forget the servers whose process ended; their GPU processes, if any live, are looked at anew."""
        ended = [life for life in self.found if process_start_since_boot_us(life.pid) != life.start_since_boot_us]
        for life in ended:
            del self.found[life]
        self._settled = {life: of for life, of in self._settled.items() if of not in ended}

    def _look(self, group: _Group, on_gpu: Sequence[ProcessLife]) -> None:
        launch = group.launch
        if launch is not None and launch.follower:
            # Another node shows the page of this unit.
            self._settled.update(dict.fromkeys(on_gpu))
            return
        ports = _likely(listening(group.pids), launch)
        for one in ports:
            if self._is_configured(one.host, one.port):
                self._settled.update(dict.fromkeys(on_gpu))
                return
        for one in ports:
            server = self.found.get(one.life) or self._ask(one, launch)
            if server is None:
                continue
            self.found[server.life] = server
            # Without a command line that says so, processes of one session may belong to several servers.
            mine = [life for life in on_gpu if launch is not None or _are_related(life.pid, server.life.pid)]
            self._settled.update(dict.fromkeys(mine, server.life))
            if launch is not None:
                return
        if launch is not None:
            self.problems[f"process {group.root} ({launch.engine})"] = (
                f"{NO_PAGE}: {launch.remedy}"
                if ports
                else f"{NO_PAGE}: wait until it listens where this node reaches it"
            )

    def _ask(self, one: Listening, launch: Launch | None) -> Found | None:
        """Return the server of a port if it shows a page, or if its command line says what it is and it shows none."""
        if len(self._asked) >= _ASKED_MAX:
            self._asked.clear()
        asked = self._asked.setdefault((one.life, one.port), _Asked())
        asked.times += 1
        if asked.answered and not is_due(asked.times):
            return None
        url = f"http://[{one.host}]:{one.port}" if ":" in one.host else f"http://{one.host}:{one.port}"
        asked.answered = True
        for path in _paths(launch):
            try:
                document = fetch(url, path=path, timeout_seconds=_TIMEOUT_SECONDS, max_bytes=_MAX_BYTES)
                counts = count_page(document.body.decode("utf-8", "replace"), content_type=document.content_type)
            except FetchError as error:
                # Sockets that take a connection and say nothing are no servers; waiting for them holds up the others.
                asked.answered = asked.answered and (error.answered or (error.timed_out and launch is None))
                if error.timed_out:
                    break
                if launch is not None and str(error) in _SHOWS_NOTHING and one.port == launch.port:
                    return _found(one, url, path, None, launch)
            except PageError:
                if launch is not None and launch.metrics_off and one.port == launch.port:
                    return _found(one, url, path, None, launch)
            else:
                return _found(one, url, path, counts.table.engine, launch)
        return None


def metrics_path(engine: str | None) -> str:
    """Return where an engine usually shows its page."""
    return next((table.metrics_path for table in TABLES if table.engine == engine), "/metrics")


def _found(one: Listening, url: str, path: str, engine: str | None, launch: Launch | None) -> Found:
    url = url if path == metrics_path(engine) else f"{url}{path}"
    return Found(url=url, port=one.port, engine=engine, life=one.life, launch=launch)


def _are_related(first: int, second: int) -> bool:
    return first in ancestors(second) or second in ancestors(first)


def _groups(tree: Processes, pids: Sequence[int]) -> Iterator[_Group]:
    """Split the families of GPU processes by the engines that were launched in them."""
    seen: set[int] = set()
    for pid in pids:
        if pid in seen:
            continue
        # A launcher may give its workers a session of their own.
        family = tree.family(next((above for above in ancestors(pid) if read_launch(above) is not None), pid))
        seen.update(family)
        rest = dict.fromkeys(family)
        # A family is listed from its first process on: what stands above comes before what stands below.
        for member in family:
            launch = read_launch(member) if member in rest else None
            if launch is not None:
                below = tuple(one for one in tree.below(member) if one in rest)
                for one in below:
                    del rest[one]
                yield _Group(root=member, launch=launch, pids=below)
        if any(one in rest for one in pids):
            yield _Group(root=pid, launch=None, pids=tuple(rest))


def _likely(ports: Sequence[Listening], launch: Launch | None) -> list[Listening]:
    """Return the ports to ask: the one that the command line names, if it is among them, else a few of all."""
    if launch is not None and launch.port is not None:
        return [one for one in ports if one.port == launch.port] or list(ports)[:_PORTS_MAX]
    return list(ports)[:_PORTS_MAX]


def _paths(launch: Launch | None) -> Sequence[str]:
    if launch is not None:
        return (launch.metrics_path,)
    # TensorRT-LLM's own path stands first: its /metrics is emptied by a reader.
    return METRICS_PATHS
