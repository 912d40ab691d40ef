"""Looks at every configured inference server once and gives its counters as columns of the wire."""

import dataclasses
import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, cast
from urllib.parse import urlsplit

from tokenmill_agent.clock import Clock, process_start_since_boot_us
from tokenmill_agent.errors import UsageError
from tokenmill_agent.records import Role, Series, Server, TokenSamples, Vantage
from tokenmill_agent.servers.cmdline import NO_LAUNCH, Launch, launch_above
from tokenmill_agent.servers.counters import Counted, PageCounts, count_page, reason_of
from tokenmill_agent.servers.discover import Listeners, ProcessLife, local_addresses
from tokenmill_agent.servers.engines import CORE_FIELDS, METRICS_PATHS, TABLES, EngineTable, Field, PageFacts
from tokenmill_agent.servers.exposition import PageError
from tokenmill_agent.servers.fetch import Document, FetchError, fetch
from tokenmill_agent.servers.found import Finder, Found, metrics_path
from tokenmill_agent.servers.identity import Identity, ask_again, ask_first, is_due
from tokenmill_agent.servers.settings import WHERE, ServerSettings, url_address

SCRAPE_FAILED: Final = "scrape_failed"
METRICS_DISABLED: Final = "metrics_disabled"
"""The server runs, and shows no counters until it is started otherwise."""

_THREADS_MAX: Final = 4
_SEARCHES_MAX: Final = 3
_SEARCH_EVERY: Final = 30
_MAX_CHARACTERS: Final = 512
_TIME_FIELDS: Final = ("series", "sampled_at_us", "monotonic_us", "reason")
_COUNTER_FIELDS: Final = tuple(
    cast("Field", field.name) for field in dataclasses.fields(TokenSamples) if field.name not in _TIME_FIELDS
)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenLook:
    """One look at all servers. `samples.series` indexes `series`, `Series.server` indexes `servers`.

    A server that was never read has no entry. `problems` says per address why its look failed.
    """

    servers: list[Server]
    series: list[Series]
    samples: TokenSamples
    problems: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    """One process life of a server as far as it is known, the ranks that it showed, and its looks that gave a page."""

    server: Server
    table: EngineTable
    ranks: frozenset[int]
    identity: Identity
    looks: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What one look at one server gave: its life as known now, and per rank the fields, None where it failed."""

    sampled_at_us: int
    monotonic_us: int
    life: _Life | None
    counts: PageCounts | None
    problem: str | None
    reason: str = SCRAPE_FAILED


class TokenWatcher:
    """Reads the counters of the configured servers, and of those that were found. One thread calls it."""

    def __init__(self, settings: tuple[ServerSettings, ...], *, node: str, clock: Clock) -> None:
        """Take the servers of this node.

        Raises:
            UsageError: one address twice, or a server that is not on this node and is not said to be remote.
        """
        self._node = node
        self._clock = clock
        self._listeners = Listeners()
        mine = [server for server in settings if server.node in (None, node)]
        self._targets = [_Target(server, node=node, clock=clock, listeners=self._listeners) for server in mine]
        others = [urlsplit(url_address(server.url)) for server in settings if server.node not in (None, node)]
        self._elsewhere = [(parts.hostname or "", parts.port or 0) for parts in others]
        self._finder = Finder(self._is_configured)
        self._found: dict[ProcessLife, _Target] = {}
        for first, second in itertools.combinations(self._targets, 2):
            if first.is_same(second):
                raise UsageError(
                    f"{WHERE} {second.address}: the same page as {first.address}, its tokens would count twice; "
                    "leave one out"
                )

    def find(self, gpu_pids: Collection[int]) -> bool:
        """Look for the servers of these processes beside the configured ones; say whether other ones are known now."""
        changed = self._finder.find(gpu_pids)
        self._take_found()
        return changed

    def pid_of(self, address: str) -> int | None:
        """Return the process that serves at the address of a server, None where it is not known."""
        targets = (*self._targets, *self._found.values())
        return next((target.pid() for target in targets if target.address == address), None)

    def look(self) -> TokenLook:
        """Read every server once, a few at a time; one that cannot be read costs the others nothing but a thread."""
        self._finder.drop_ended()
        self._take_found()
        look = TokenLook(servers=[], series=[], samples=TokenSamples(), problems=dict(self._finder.problems))
        targets = [*self._targets, *self._found.values()]
        for target, reading in zip(targets, _look_at(targets), strict=True):
            if reading.problem is not None:
                look.problems[target.address] = reading.problem
            if reading.life is not None:
                _add(look, reading, reading.life)
        return look

    def _is_configured(self, host: str, port: int) -> bool:
        if any(target.serves(host, port) for target in self._targets):
            return True
        # A server of this node that another node reads: found here too, its tokens would count twice.
        if any(port == there and (host == name or local_addresses(name)) for name, there in self._elsewhere):
            return True
        # A local port may be passed on into a container: found there too, its tokens would count twice.
        return any(target.local for target in self._targets) and not local_addresses(host)

    def _take_found(self) -> None:
        self._found = {
            life: self._found.get(life)
            or _Target(
                ServerSettings(url=found.url, engine=found.engine),
                node=self._node,
                clock=self._clock,
                listeners=self._listeners,
                found=found,
            )
            for life, found in self._finder.found.items()
        }


def _look_at(targets: "Sequence[_Target]") -> "list[_Reading]":
    if len(targets) < 2:
        return [target.look() for target in targets]
    with ThreadPoolExecutor(min(len(targets), _THREADS_MAX), "look") as pool:
        return list(pool.map(_Target.look, targets))


def join_looks(looks: Sequence[TokenLook]) -> TokenLook:
    """Return several looks as one: each server and series once, as last seen, all samples in order."""
    servers: dict[str, Server] = {}
    series: dict[tuple[str, int], None] = {}
    for look in looks:
        servers.update((server.server_id, server) for server in look.servers)
        series.update(((look.servers[one.server].server_id, one.rank), None) for one in look.series)
    server_index = {server_id: index for index, server_id in enumerate(servers)}
    series_index = {key: index for index, key in enumerate(series)}
    samples = TokenSamples()
    for look in looks:
        keys = [(look.servers[one.server].server_id, one.rank) for one in look.series]
        samples.series.extend(series_index[keys[index]] for index in look.samples.series)
        for field in dataclasses.fields(TokenSamples):
            if field.name != "series":
                getattr(samples, field.name).extend(getattr(look.samples, field.name))
    return TokenLook(
        servers=list(servers.values()),
        series=[Series(server=server_index[server_id], rank=rank) for server_id, rank in series],
        samples=samples,
        problems=dict(looks[-1].problems) if looks else {},
    )


class _Target:
    """One server and what is known of the process that serves there now."""

    def __init__(
        self, settings: ServerSettings, *, node: str, clock: Clock, listeners: Listeners, found: Found | None = None
    ) -> None:
        self.address = url_address(settings.url)
        self._settings = settings
        self._node = node
        self._clock = clock
        self._listeners = listeners
        self.port = urlsplit(self.address).port or 0
        path = urlsplit(settings.url).path
        self.path = path if path.strip("/") else metrics_path(settings.engine)
        # A found server's path is known from the find.
        self._may_seek_path = not path.strip("/") and settings.engine is None and found is None
        self._seeks_path = self._may_seek_path
        self._found = found
        self._life: _Life | None = None
        self._problem: str | None = None
        self._searches_in_vain = 0
        self._looks_answered = 0
        self._is_disabled = found is not None and found.engine is None
        self._launch = NO_LAUNCH
        self._launched: ProcessLife | None = None
        host = urlsplit(self.address).hostname or ""
        self.local = local_addresses(host)
        # Containers of one node may serve at the same port of their own addresses.
        self._where = f"{node}:{self.port}" if self.local or found is None else f"{node}:{host}:{self.port}"
        if not self.local and not settings.remote and found is None:
            raise UsageError(
                f'{WHERE} {self.address}: not an address of this node; say remote = true and node = "{node}" to read '
                "it from here, and from no other node"
            )

    def is_same(self, other: "_Target") -> bool:
        """Say whether another target reads the same page, perhaps by another name of the host."""
        if (self.port, self.path) != (other.port, other.path):
            return False
        hosts = [urlsplit(target.address).hostname for target in (self, other)]
        # An engine that listens on all addresses shows one page at each of them.
        return hosts[0] == hosts[1] or bool(self.local and other.local)

    def serves(self, host: str, port: int) -> bool:
        """Say whether `host` and `port` name this server."""
        is_host = host == urlsplit(self.address).hostname or bool(self.local and local_addresses(host))
        return self.port == port and is_host

    def pid(self) -> int | None:
        """Return the process that serves here, None where it is not known."""
        life = self._found.life if self._found is not None else self._listeners.known(self.local, self.port)
        return life.pid if life is not None else None

    def look(self) -> _Reading:
        # Taken before the page is asked for: a process that began later is new to the next look.
        sampled_at_us, monotonic_us = self._clock.now_us(), self._clock.monotonic_us()
        counts: PageCounts | None = None
        problem: str | None = None
        reason = SCRAPE_FAILED
        try:
            counts, self._life = self._live(*self._read())
            self._is_disabled = False
        except (FetchError, PageError) as error:
            problem = str(error)
            self._searches_in_vain = 0
            self._seeks_path = self._may_seek_path
        if problem is not None and self._is_disabled and self._found is not None and self._found.launch is not None:
            reason, problem = METRICS_DISABLED, f"{METRICS_DISABLED}: {self._found.launch.remedy}"
            self._life = self._life or self._dark_life(self._found, self._found.launch)
        self._say(problem)
        return _Reading(
            sampled_at_us=sampled_at_us,
            monotonic_us=monotonic_us,
            life=self._life,
            counts=counts,
            problem=problem,
            reason=reason,
        )

    def _dark_life(self, found: Found, launch: Launch) -> _Life | None:
        """Return the life of a server that shows no page: who it is, by its command line."""
        table = next((table for table in TABLES if table.engine == launch.engine), None)
        if table is None:
            return None
        counts = PageCounts(table=table, ranks={}, process_started_at_us=None, model=None)
        server_id, started_at_us = self._name_life(counts, found.life)
        self._know_launch(found.life)
        return _Life(
            server=self._server(server_id, started_at_us, counts, Identity(complete=True), None),
            table=table,
            ranks=frozenset({0}),
            identity=Identity(complete=True),
            looks=1,
        )

    def _read(self) -> tuple[Document, ProcessLife | None]:
        """Return a page and the process whose page it is for certain, None where that cannot be seen."""
        if self._found is not None:
            return self._read_found(self._found.life)
        process = self._listeners.known(self.local, self.port)
        self._seek_path()
        document = self._fetch()
        if process is None and self._may_search():
            process = self._listeners.find(self.local, self.port)
            self._searches_in_vain = 0 if process is not None else self._searches_in_vain + 1
            # The page before may be another's, who served until the search.
            document = self._fetch() if process is not None else document
        if process is not None and self._listeners.known(self.local, self.port) != process:
            raise PageError("another process began to serve during the look")
        return document, process

    def _read_found(self, process: ProcessLife) -> tuple[Document, ProcessLife]:
        document = self._fetch()
        if process_start_since_boot_us(process.pid) != process.start_since_boot_us:
            raise PageError("its process ended during the look")
        return document, process

    def _know_launch(self, process: ProcessLife | None) -> None:
        """Read the command line of a process that is new."""
        if process != self._launched:
            self._launched = process
            self._launch = (launch_above(process.pid) if process is not None else None) or NO_LAUNCH

    def _may_search(self) -> bool:
        """Say whether to search for the process now: a search is dear, and one that hides is seldom looked for."""
        if not self.local:
            return False
        self._looks_answered += 1
        return self._searches_in_vain < _SEARCHES_MAX or self._looks_answered % _SEARCH_EVERY == 0

    def _seek_path(self) -> None:
        """Ask at the paths of single engines before the common one, which TensorRT-LLM empties for every reader."""
        if not self._seeks_path:
            return
        for path in METRICS_PATHS:
            self.path = path
            if path == METRICS_PATHS[-1]:
                break
            try:
                _count(self._fetch(), None)
                break
            except PageError:
                continue
            except FetchError as error:
                if not error.answered:
                    raise
        self._seeks_path = False

    def _fetch(self) -> Document:
        query = urlsplit(self._settings.url).query
        return fetch(
            self._settings.url,
            path=f"{self.path}?{query}" if query else self.path,
            timeout_seconds=self._settings.timeout_seconds,
            max_bytes=self._settings.max_page_bytes,
        )

    def _live(self, document: Document, process: ProcessLife | None) -> tuple[PageCounts, _Life]:
        counts = _count(document, self._settings.engine)
        server_id, started_at_us = self._name_life(counts, process)
        self._know_launch(process)
        known = self._life if self._life is not None and self._life.server.server_id == server_id else None
        if known is not None and known.table is not counts.table:
            # A series keeps the meaning that it began with, whatever else appears on the page.
            counts = _count(document, known.table.engine, known.table)
        self._refuse_several_models(counts)
        identity = self._identify(known, counts.table)
        ranks = frozenset(counts.ranks) | (known.ranks if known is not None else frozenset())
        return counts, _Life(
            server=self._server(server_id, started_at_us, counts, identity, known),
            table=counts.table,
            ranks=ranks or frozenset({0}),
            identity=identity,
            looks=known.looks + 1 if known is not None else 1,
        )

    def _refuse_several_models(self, counts: PageCounts) -> None:
        """Refuse a front end whose tokens belong to several deployments: each would count them a second time.

        Raises:
            PageError: the page counts several models, and configuration names none.
        """
        has_tokens = any(field in fields for fields in counts.ranks.values() for field in CORE_FIELDS)
        is_named = self._settings.deployment is not None or self._settings.model is not None
        if counts.table.vantage != "engine" and counts.model is None and has_tokens and not is_named:
            raise PageError("a front end of several models: the engines behind it count their tokens")

    def _identify(self, known: _Life | None, table: EngineTable) -> Identity:
        """Return what the server says of itself; a life that has not told all is asked again, ever more seldom."""
        if known is None:
            return ask_first(self._settings.url, table, timeout_seconds=self._settings.timeout_seconds)
        if known.identity.complete or not is_due(known.looks):
            return known.identity
        return ask_again(self._settings.url, table, known.identity)

    def _name_life(self, counts: PageCounts, process: ProcessLife | None) -> tuple[str, int | None]:
        """Return the id of this process life, and when it began: by the page's own word, else by /proc."""
        if counts.process_started_at_us is not None:
            return f"{self.address}#{counts.process_started_at_us}", counts.process_started_at_us
        if process is not None:
            # The id counts from boot: the wall clock may be stepped while the process lives, and the id must stay.
            started_at_us = self._clock.process_started_at_us(process.pid)
            return f"{self.address}#boot+{process.start_since_boot_us}", started_at_us
        return self.address, None

    def _server(
        self, server_id: str, started_at_us: int | None, counts: PageCounts, identity: Identity, known: _Life | None
    ) -> Server:
        settings, table, launch = self._settings, counts.table, self._launch
        # TensorRT-LLM labels its counters with the last part of a path, and says beside them what clients ask for.
        told = counts.facts.model_served or counts.model or identity.model_served or launch.model
        model = settings.model or (told or "")[:_MAX_CHARACTERS] or None
        facts = counts.facts.over(identity.facts)
        role, role_basis = _role(settings, facts, launch)
        precision = settings.precision or facts.precision or launch.precision
        return Server(
            server_id=server_id,
            # It stays while the process lives: a model that is told late would split tokens from placements.
            deployment=known.server.deployment
            if known is not None
            else settings.deployment or _meeting_model(launch) or model or f"{table.engine}@{self._where}",
            replica=settings.replica or launch.rendezvous or self._where,
            role=role,
            role_basis=role_basis,
            vantage=cast("Vantage", settings.vantage or table.vantage),
            engine=table.engine,
            engine_version=settings.engine_version or identity.engine_version,
            model_served=model,
            model_root=settings.model_root or facts.model_root or identity.model_root or launch.model_root,
            precision=precision,
            precision_basis="configuration"
            if settings.precision
            else facts.precision_basis or ("command_line" if precision else None),
            tensor_parallel=settings.tensor_parallel or facts.tensor_parallel or launch.tensor_parallel,
            pipeline_parallel=settings.pipeline_parallel or facts.pipeline_parallel or launch.pipeline_parallel,
            data_parallel=settings.data_parallel or facts.data_parallel or launch.data_parallel,
            expert_parallel=settings.expert_parallel or facts.expert_parallel or launch.expert_parallel,
            expected_gpu_count=settings.expected_gpu_count or facts.expected_gpu_count or launch.expected_gpu_count,
            speculative=settings.speculative or facts.speculative or launch.speculative,
            input_includes_cached=table.input_includes_cached,
            counts_at=table.counts_at,
            address=self.address,
            labels=settings.labels,
            process_started_at_us=started_at_us,
        )

    def _say(self, problem: str | None) -> None:
        """Log one line per change, not one per look."""
        if problem == self._problem:
            return
        if problem is None:
            _log.info("%s: counted again", self.address)
        else:
            _log.warning("%s: not counted: %s", self.address, problem)
        self._problem = problem


def _count(document: Document, engine: str | None, table: EngineTable | None = None) -> PageCounts:
    text = document.body.decode("utf-8", "replace")
    if not text.endswith("\n"):
        raise PageError("the page was cut off: its last line has no end")
    return count_page(text, content_type=document.content_type, engine=engine, table=table)


def _role(settings: ServerSettings, facts: PageFacts, launch: Launch) -> tuple[Role, str]:
    """Return the role of a server and how it is known."""
    if settings.role:
        return cast("Role", settings.role), "configuration"
    if facts.role is not None and facts.role_basis is not None:
        return facts.role, facts.role_basis
    if launch.role is not None:
        return launch.role, "command_line"
    return "aggregated", "default"


def _meeting_model(launch: Launch) -> str | None:
    # The followers of a unit know no more of its name than their command line.
    return launch.model if launch.rendezvous is not None else None


def _add(look: TokenLook, reading: _Reading, life: _Life) -> None:
    look.servers.append(life.server)
    for rank in sorted(life.ranks):
        look.series.append(Series(server=len(look.servers) - 1, rank=rank))
        fields: Mapping[Field, Counted] = reading.counts.ranks.get(rank, {}) if reading.counts is not None else {}
        reason = reason_of(fields) if reading.counts is not None else reading.reason
        _add_row(look, reading, fields, reason)


def _add_row(look: TokenLook, reading: _Reading, fields: Mapping[Field, Counted], reason: str | None) -> None:
    samples = look.samples
    samples.series.append(len(look.series) - 1)
    samples.sampled_at_us.append(reading.sampled_at_us)
    samples.monotonic_us.append(reading.monotonic_us)
    samples.reason.append(reason)
    for name in _COUNTER_FIELDS:
        counted = fields.get(name)
        getattr(samples, name).append(counted.value if counted is not None else None)
