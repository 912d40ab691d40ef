"""Servers that run in pods carry the names of their pods' units."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.agents.placement.cluster import UID, api, pod_json
from tests.agents.placement.rows import listening_process, server_at
from tests.agents.placement.test_kubernetes_node import node_of, process
from tokenmill_agent.placement.kubernetes.node import KubernetesNode
from tokenmill_agent.placement.kubernetes.tokens import KubernetesTokens
from tokenmill_agent.records import Server, TokenSamples
from tokenmill_agent.servers.scrape import TokenLook
from tokenmill_agent.servers.settings import ServerSettings

AT_POD = "http://10.1.2.3:8000"


@dataclasses.dataclass(frozen=True, slots=True)
class OneServer:
    """A source whose looks always find the same server."""

    server: Server

    def look(self) -> TokenLook:
        """Look."""
        return TokenLook(servers=[self.server], series=[], samples=TokenSamples(), problems={})


def named(node: KubernetesNode, server: Server, *configured: ServerSettings, **options: Any) -> Server:
    """Return the server as its look gives it."""
    return KubernetesTokens(OneServer(server), node, configured, **options).look().servers[0]


def at(address: str, **changes: Any) -> Server:
    """Return a server of which nobody said more than a default role."""
    return dataclasses.replace(server_at(1), address=address, labels={}, **changes)


def test_a_server_at_the_address_of_a_pod_is_its_unit(tmp_path: Path) -> None:
    """Name, role, labels and number of GPUs are the pod's."""
    labels = {"team": "search", "llm-d.ai/role": "decode", "app.kubernetes.io/instance": "ms"}
    with api([pod_json("chat-0", gpus=4, labels=labels)], tmp_path) as server:
        found = named(node_of(server, tmp_path), at(AT_POD))

    assert ("ml/ms", "ml/chat-0", "decode", "kubernetes", 4, {"namespace": "ml", "team": "search"}) == (
        found.deployment,
        found.replica,
        found.role,
        found.role_basis,
        found.expected_gpu_count,
        found.labels,
    )


def test_what_the_server_knows_of_itself_stays(tmp_path: Path) -> None:
    """A role that is not a default, a number of GPUs and labels that were configured."""
    pod = pod_json("chat-0", gpus=4, annotations={"tokenmill.io/role": "decode"})
    told = at(AT_POD, role="prefill", role_basis="command_line", expected_gpu_count=8)
    with api([pod], tmp_path) as server:
        found = named(node_of(server, tmp_path), told)

    assert ("prefill", "command_line", 8) == (found.role, found.role_basis, found.expected_gpu_count)


def test_a_configured_name_wins_and_holds_for_the_pod(tmp_path: Path) -> None:
    """The GPUs of the pod get it too."""
    settings = ServerSettings(url=AT_POD, deployment="mine")
    with api([pod_json("chat-0")], tmp_path) as server:
        node = node_of(server, tmp_path)
        found = named(node, at(AT_POD), settings)
        pod = node.pod_at("10.1.2.3")

    assert pod is not None
    assert (
        ("mine", "ml/chat-0")
        == (found.deployment, found.replica)
        == (
            node.unit(pod).deployment,
            node.unit(pod).replica,
        )
    )


def test_a_server_on_the_network_of_the_host_is_known_by_its_process(tmp_path: Path) -> None:
    """Who listens at the port, and in which pod's cgroup that process is."""
    with listening_process() as (port, pid, _), api([pod_json("chat-0", hostNetwork=True)], tmp_path) as server:
        process(tmp_path, pid, f"0::/kubepods/pod{UID}/1\n")
        found = named(node_of(server, tmp_path), at(f"http://127.0.0.1:{port}"))

    assert "ml/chat-0" == found.replica


def test_a_server_that_was_found_by_its_process_is_known_by_it(tmp_path: Path) -> None:
    """Its address alone need not tell."""
    process(tmp_path, 7, f"0::/kubepods/pod{UID}/1\n")
    with api([pod_json("chat-0")], tmp_path) as server:
        found = named(node_of(server, tmp_path), at("http://10.9.9.9:1"), pid_of=lambda _: 7)

    assert "ml/chat-0" == found.replica


@pytest.mark.parametrize("address", ["http://10.9.9.9:8000", "http://127.0.0.1:1"])
def test_a_server_in_no_pod_keeps_its_names(address: str, tmp_path: Path) -> None:
    """A server of another node, or of the host itself."""
    with api([pod_json("chat-0")], tmp_path) as server:
        assert at(address) == named(node_of(server, tmp_path), at(address))
