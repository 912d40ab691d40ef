"""Gives the servers of a look the names of the units in whose pods they run, so that tokens and GPUs stay together."""

import dataclasses
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from tokenmill_agent.looker import TokenSource
from tokenmill_agent.placement.kubernetes.node import KubernetesNode, Names
from tokenmill_agent.placement.kubernetes.units import Pod, Unit
from tokenmill_agent.records import Server
from tokenmill_agent.servers.discover import Listeners, local_addresses
from tokenmill_agent.servers.scrape import TokenLook
from tokenmill_agent.servers.settings import ServerSettings, url_address


class KubernetesTokens:
    """A token source whose servers are named by their pods; what configuration says of a server wins, name by name."""

    def __init__(
        self,
        source: TokenSource,
        node: KubernetesNode,
        configured: Iterable[ServerSettings],
        *,
        pid_of: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        """Name what `source` finds; `pid_of` knows the process of a server's address where it was found by it."""
        self._pid_of = pid_of
        self._source = source
        self._node = node
        self._configured = {url_address(server.url): server for server in configured}
        self._listeners = Listeners()

    def look(self) -> TokenLook:
        """Look, and name the servers that run in pods of this node."""
        look = self._source.look()
        if not look.servers:
            return look
        self._node.refresh()
        return dataclasses.replace(look, servers=[self._named(server) for server in look.servers])

    def _named(self, server: Server) -> Server:
        pod = self._pod(server)
        if pod is None:
            return server
        settings = self._configured.get(server.address)
        if settings is not None and (settings.deployment or settings.replica):
            self._node.configure(pod, Names(deployment=settings.deployment, replica=settings.replica))
        return _overlaid(server, self._node.unit(pod))

    def _pod(self, server: Server) -> Pod | None:
        parts = urlsplit(server.address)
        host = parts.hostname or ""
        pod = self._node.pod_at(host)
        if pod is not None:
            return pod
        pid = self._pid_of(server.address)
        if pid is not None:
            return self._node.pod_of_process(pid)
        local = local_addresses(host)
        life = self._listeners.find(local, parts.port or 0) if local else None
        return self._node.pod_of_process(life.pid) if life is not None else None


def _overlaid(server: Server, unit: Unit) -> Server:
    told = server.role_basis not in (None, "default")
    role = server.role if told or unit.role is None else unit.role
    return dataclasses.replace(
        server,
        deployment=unit.deployment,
        replica=unit.replica,
        role=role,
        role_basis="kubernetes" if not told and unit.role is not None else server.role_basis,
        model_served=server.model_served or unit.model,
        expected_gpu_count=server.expected_gpu_count or unit.expected_gpu_count,
        labels={**unit.labels, **server.labels},
    )
