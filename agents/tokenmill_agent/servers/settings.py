"""`[[agent.servers]]`: the inference servers to read, and what their operator knows of them."""

import dataclasses
import typing
from urllib.parse import urlsplit

from tokenmill_agent.errors import UsageError
from tokenmill_agent.records import Role, Vantage
from tokenmill_agent.servers.engines import TABLES
from tokenmill_agent.settings import nearest

ENGINES: typing.Final = tuple(sorted({table.engine for table in TABLES}))
"""Every engine that has a table of counters."""

WHERE: typing.Final = "[[agent.servers]]"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """One server. What is None is asked of the server, of its page or of its process, or stays unknown.

    `url` is the address of the server or of its metrics page; without a path the engine's usual one is taken. A name
    and password in it are used to ask and are never sent on. `remote` must be said of a server on another host, with
    the `node` that reads it: two nodes that read one server would count it twice; the agents of all other nodes pass
    it over. `expected_gpu_count` is how many GPUs hold one copy of the
    weights, over all nodes.
    """

    url: str
    deployment: str | None = None
    replica: str | None = None
    role: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    model: str | None = None
    model_root: str | None = None
    precision: str | None = None
    expected_gpu_count: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    expert_parallel: int | None = None
    speculative: str | None = None
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    remote: bool = False
    node: str | None = None
    vantage: str | None = None
    timeout_seconds: float = 3.0
    max_page_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse what cannot be right.

        Raises:
            UsageError: naming the key, the value and what is allowed.
        """
        address = url_address(self.url)
        if self.remote and self.node is None:
            raise UsageError(f'{WHERE} {address}: remote = true needs node = "NAME", the one node that reads it')
        _one_of(f"{WHERE} {address}: role", self.role, typing.get_args(Role))
        _one_of(f"{WHERE} {address}: vantage", self.vantage, typing.get_args(Vantage))
        _one_of(f"{WHERE} {address}: engine", self.engine, ENGINES)
        for name in ("expected_gpu_count", "tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{WHERE} {address}: {name} is {value}, expected 1 or more")
        for name in ("timeout_seconds", "max_page_bytes"):
            if (value := getattr(self, name)) <= 0:
                raise UsageError(f"{WHERE} {address}: {name} is {value}, expected more than 0")


def url_address(url: str) -> str:
    """Return `scheme://host:port/path` of a server's URL: without name, password and query.

    Raises:
        UsageError: not an http or https URL with a host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"{WHERE} url: not a URL with a host and a port: {_without_credentials(url)!r}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{WHERE} url: expected http://host:port or https://host:port, got {_without_credentials(url)!r}"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}{parts.path.rstrip('/')}"


def _without_credentials(url: str) -> str:
    return url.rpartition("@")[2].partition("?")[0]


def _one_of(where: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"{where} is {value!r}, expected one of {', '.join(known)}{nearest(value, known)}")
