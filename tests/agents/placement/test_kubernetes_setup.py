"""When an agent takes itself to be in a cluster, and what it does then."""

import io
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.placement.cluster import api, pod_json
from tokenmill_agent.assembly import Parts, make_agent, real_parts
from tokenmill_agent.check import check
from tokenmill_agent.config import AgentSettings, Config
from tokenmill_agent.errors import UsageError
from tokenmill_agent.placement.kubernetes.api import ApiServer
from tokenmill_agent.placement.kubernetes.setup import api_server, identity_sources, kubernetes_node
from tokenmill_agent.placement.kubernetes.tokens import KubernetesTokens
from tokenmill_agent.records import Identity
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink.stdout import LineSink
from tokenmill_agent.telemetry import Telemetry

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def config(kubernetes: str = "auto", *, metadata: bool = False) -> Config:
    """Return the settings of a node of the cluster."""
    agent = replace(AgentSettings(), kubernetes=kubernetes, metadata=metadata, node="node-1")
    return Config(agent=agent, kafka=KafkaSettings())


def test_a_pod_is_told_by_its_environment() -> None:
    """Only there, and not where it is switched off."""
    assert ApiServer(url="https://10.0.0.1:6443") == api_server(config(), POD)
    assert [None, None] == [api_server(config(), {}), api_server(config("off"), POD)]


def test_who_insists_is_told_that_this_is_no_pod() -> None:
    """Instead of placing by processes in silence."""
    with pytest.raises(UsageError, match=r'\[agent\] kubernetes is "on", but this is no pod'):
        api_server(config("on"), {})


def test_a_value_that_does_not_exist_is_refused() -> None:
    """With the nearest one."""
    with pytest.raises(UsageError, match="did you mean"):
        config("onn")


def test_the_pods_asked_for_are_those_of_the_node(tmp_path: Path) -> None:
    """By the agent's name of it."""
    with api([pod_json("p")], tmp_path) as server:
        node = kubernetes_node(config(), server)
        node.refresh()

    assert (1, []) == (node.pod_count, node.problems)


def test_cloud_and_cluster_are_asked_as_far_as_they_may_be(tmp_path: Path) -> None:
    """A cluster that does not answer names nothing, and stops nothing."""
    silent = ApiServer(url="http://127.0.0.1:1", account_dir=tmp_path)
    (of_cluster,) = identity_sources(config(), silent)

    assert of_cluster() is None
    assert [0, 1, 2] == [
        len(identity_sources(config(), None)),
        len(identity_sources(config(metadata=True), None)),
        len(identity_sources(config(metadata=True), silent)),
    ]


def bare(settings: Config, **changes: object) -> Config:
    """Return the settings of a node whose GPUs are not read and whose host's power is not either."""
    agent = replace(settings.agent, gpus="none", sink="stdout", **changes)  # type: ignore[arg-type]
    return replace(settings, agent=agent)


def test_an_agent_in_a_pod_names_servers_and_gpus_by_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put together from the environment of a pod; nothing is asked yet."""
    for name, value in POD.items():
        monkeypatch.setenv(name, value)
    parts = real_parts(bare(config(), servers=(ServerSettings(url="http://127.0.0.1:1"),)), Telemetry())

    assert isinstance(parts.tokens, KubernetesTokens)
    assert parts.kubernetes is not None
    assert 1 == len(parts.learn)


def test_check_tells_what_of_the_cluster_does_not_answer(tmp_path: Path) -> None:
    """With the thing to look at; the identity that was learned stands beside the node."""
    settings = bare(config("off"))
    node = kubernetes_node(settings, ApiServer(url="http://127.0.0.1:1", account_dir=tmp_path))
    node.refresh()
    sources = (lambda: Identity(provider="aws", instance_id="i-1"),)
    parts = replace(real_parts(settings, Telemetry()), kubernetes=node, learn=sources)
    found = {finding.what: finding for finding in check(settings, lambda _: [parts])}

    assert "fail" == found["kubernetes"].status
    assert "infra/kubernetes" in str(found["kubernetes"].remedy)
    assert "provider aws, instance_id i-1" in found["node"].text


def test_messages_carry_the_identity_once_it_is_learned() -> None:
    """It is learned beside the agent; configuration wins."""
    settings = bare(config("off"))
    asked = threading.Event()

    def cloud() -> Identity:
        asked.set()
        return Identity(provider="aws", instance_id="i-1")

    parts = replace(real_parts(settings, Telemetry()), learn=(cloud,), identity=Identity(provider="mine"))

    assert ("mine", "i-1") == learned(parts, settings, asked)


def learned(parts: Parts, settings: Config, asked: threading.Event) -> tuple[str, str]:
    """Return provider and machine of the first message after the thread that learns has ended."""
    stream = io.BytesIO()
    agent = make_agent(
        parts, settings=settings.agent, kafka=settings.kafka, sink=LineSink(stream), telemetry=Telemetry()
    )
    assert asked.wait(60)
    for thread in threading.enumerate():
        if thread.name == "identity":
            thread.join(60)
    identity = agent._messenger._head("gpu-power")["identity"]
    agent._looker.close()
    return identity.provider, identity.instance_id
