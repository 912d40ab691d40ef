"""What is known of the pods of a node, and for how long."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.placement.cluster import UID, api, kubelet, pod_json, resources
from tokenmill_agent.placement.kubernetes.api import ApiServer
from tokenmill_agent.placement.kubernetes.node import KubernetesNode, Names


class Seconds:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def node_of(server: ApiServer, tmp_path: Path, seconds: Seconds | None = None) -> KubernetesNode:
    """Return a node whose kubelet and processes lie under `tmp_path`."""
    return KubernetesNode(
        api=server,
        node="node-1",
        socket=tmp_path / "kubelet.sock",
        label_names=("team",),
        proc=tmp_path,
        seconds=seconds or Seconds(),
    )


def process(tmp_path: Path, pid: int, cgroup: str) -> None:
    """Write the cgroup of a process as the kernel shows it."""
    (tmp_path / str(pid)).mkdir()
    (tmp_path / str(pid) / "cgroup").write_text(cgroup)


def names(node: KubernetesNode) -> list[tuple[str, str | None]]:
    """Return devices with the names of their pods."""
    return [(device.device_id, pod.name if pod is not None else None) for device, pod in node.devices()]


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-1\n",
        f"0::/kubepods/besteffort/pod{UID}/0123456789ab\n",
        f"0::/../../pod{UID}/0123\n",
        f"12:memory:/kubepods/pod{UID}/01\n11:cpu:/kubepods/pod{UID}/01\n",
    ],
)
def test_a_process_belongs_to_the_pod_of_its_cgroup(cgroup: str, tmp_path: Path) -> None:
    """Of both drivers of the kubelet and both versions of cgroups."""
    process(tmp_path, 77, cgroup)
    with api([pod_json("chat-0")], tmp_path) as server:
        node = node_of(server, tmp_path)
        node.refresh()
        pod = node.pod_of_process(77)

    assert pod is not None
    assert "chat-0" == pod.name


def test_a_process_of_the_host_is_in_no_pod(tmp_path: Path) -> None:
    """Nor is one that has ended."""
    process(tmp_path, 1, "0::/system.slice/sshd.service\n")
    with api([pod_json("chat-0")], tmp_path) as server:
        node = node_of(server, tmp_path)
        node.refresh()

        assert [None, None] == [node.pod_of_process(1), node.pod_of_process(99)]


def test_pods_are_asked_for_once_a_minute(tmp_path: Path) -> None:
    """Ten thousand nodes share one API server."""
    seconds, pods = Seconds(), [pod_json("a", ip="10.0.0.1")]
    with api(pods, tmp_path) as server:
        node = node_of(server, tmp_path, seconds)
        node.refresh()
        pods.append(pod_json("b", ip="10.0.0.2"))
        seconds.now = 59
        node.refresh()
        before = node.pod_at("10.0.0.2")
        seconds.now = 61
        node.refresh()

        assert before is None
        assert node.pod_at("10.0.0.2") is not None


def test_a_pod_that_only_the_kubelet_names_is_asked_for_at_once(tmp_path: Path) -> None:
    """A new pod is not unknown for a minute."""
    seconds, pods = Seconds(), [pod_json("a")]
    with api(pods, tmp_path) as server, kubelet(tmp_path / "kubelet.sock", iter([resources("b", ["GPU-1"])])):
        node = node_of(server, tmp_path, seconds)
        node.refresh()
        pods.append(pod_json("b"))
        seconds.now = 6

        assert [("GPU-1", "b")] == names(node)


def test_what_was_known_stays_while_nobody_answers(tmp_path: Path) -> None:
    """A kubelet or an API server that restarts takes no GPU from its pod; what is wrong is told."""
    seconds = Seconds()
    with (
        api([pod_json("a")], tmp_path) as server,
        kubelet(tmp_path / "kubelet.sock", iter([resources("a", ["GPU-1"])])),
    ):
        node = node_of(server, tmp_path, seconds)
        node.refresh()
        first = names(node)
    seconds.now = 100
    node.refresh()

    assert [("GPU-1", "a")] == first == names(node)
    assert ["pod-resources", "pods"] == sorted(problem.partition(":")[0] for problem in node.problems)


def test_a_change_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three looks at a kubelet that is not there are one line."""
    node = node_of(ApiServer(url="http://127.0.0.1:1", account_dir=tmp_path), tmp_path)
    for _ in range(3):
        node.devices()

    assert 1 == sum("kubelet.sock does not answer" in line for line in caplog.messages)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KubernetesNode]:
    """Return a node with one pod."""
    with api([pod_json("chat-0", labels={"team": "search", "x": "y"})], tmp_path) as server:
        found = node_of(server, tmp_path)
        found.refresh()
        yield found


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Names(deployment="mine", replica=None), ("mine", "ml/chat-0")),
        (Names(deployment=None, replica="r"), ("ml/chat-0", "r")),
    ],
)
def test_a_configured_name_wins_over_a_label(node: KubernetesNode, said: Names, expected: tuple[Any, Any]) -> None:
    """For the pod's GPUs too, so that they stay with its tokens."""
    pod = node.pod_at("10.1.2.3")
    assert pod is not None
    node.configure(pod, said)
    unit = node.unit(pod)

    assert expected == (unit.deployment, unit.replica)
    assert {"namespace": "ml", "team": "search"} == unit.labels
