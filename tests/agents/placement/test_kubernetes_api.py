"""The API server of a cluster, as a pod reaches it."""

from pathlib import Path
from typing import Any

import pytest

from tests.agents.identity.serving import serving
from tests.agents.placement.cluster import STARTED_US, api, api_answers, authority, pod_json
from tokenmill_agent.identity.ask import AskError
from tokenmill_agent.placement.kubernetes.api import ApiServer, read_node, read_pod
from tokenmill_agent.records import Identity

NODE: dict[str, Any] = {
    "metadata": {
        "labels": {
            "topology.kubernetes.io/region": "us-east-1",
            "topology.kubernetes.io/zone": "us-east-1b",
            "node.kubernetes.io/instance-type": "p5.48xlarge",
        }
    },
    "spec": {"providerID": "aws:///us-east-1b/i-0abc"},
}


def test_all_pages_of_pods_are_read_over_tls(tmp_path: Path) -> None:
    """Five pods on pages of two, with the token and the authority of the service account."""
    with api([pod_json(f"p{index}") for index in range(5)], tmp_path) as server:
        assert ["p0", "p1", "p2", "p3", "p4"] == [pod.name for pod in server.pods("node-1")]


def test_a_renewed_token_is_used_at_once(tmp_path: Path) -> None:
    """The kubelet replaces it in its file while the agent runs."""
    with api([pod_json("p")], tmp_path) as server:
        server.pods("node-1")
        (tmp_path / "token").write_text("token-2")

        assert ["p"] == [pod.name for pod in server.pods("node-1")]


def test_a_server_of_another_authority_is_not_told_the_token(tmp_path: Path) -> None:
    """TLS ends before anything is sent."""
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "token").write_text("secret")
    context = authority(other)
    authority(tmp_path)
    with serving(api_answers([], tmp_path), context=context) as url, pytest.raises(AskError, match="TLS"):
        ApiServer(url=url, account_dir=tmp_path).pods("node-1")


def test_a_service_account_without_rights_is_told(tmp_path: Path) -> None:
    """The status says that the role is missing."""
    with api([], tmp_path) as server, pytest.raises(AskError, match="status 403"):
        server.pods("another-node")


@pytest.mark.parametrize("body", [b"[]", b"{}", b"no json", b'{"items": 5}', b"[" * 100_000])
def test_an_answer_that_is_no_list_of_pods_is_refused(body: bytes, tmp_path: Path) -> None:
    """A proxy's page is not taken for an empty node."""
    (tmp_path / "token").write_text("t")
    with serving(lambda *_: (200, body)) as url, pytest.raises(AskError, match="the answer is no"):
        ApiServer(url=url, account_dir=tmp_path).pods("node-1")


def test_a_missing_service_account_is_named(tmp_path: Path) -> None:
    """Where no token was mounted nothing is asked."""
    with pytest.raises(AskError, match=f"cannot read the service account in {tmp_path}"):
        ApiServer(url="http://127.0.0.1:1", account_dir=tmp_path).pods("node-1")


def test_what_a_pod_says_is_taken_apart() -> None:
    """Owner, address, start and whole GPUs."""
    pod = read_pod(pod_json("chat-7f-x", gpus=4, owner=("ReplicaSet", "chat-7f")))

    assert pod is not None
    assert ("ReplicaSet", "chat-7f", ("10.1.2.3",), STARTED_US, 4) == (
        pod.owner_kind,
        pod.owner_name,
        pod.ips,
        pod.started_at_us,
        pod.gpu_count,
    )


def test_a_pod_on_the_network_of_the_host_has_no_address_of_its_own() -> None:
    """All such pods share the node's."""
    pod = read_pod(pod_json("p", hostNetwork=True))

    assert pod is not None
    assert () == pod.ips


def test_a_static_pod_is_known_by_the_hash_that_its_cgroup_carries() -> None:
    """The mirror in the API has another id."""
    pod = read_pod(pod_json("p", annotations={"kubernetes.io/config.hash": "ab" * 16}))

    assert pod is not None
    assert "ab" * 16 == pod.uid


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_holds_nothing(phase: str) -> None:
    """It stands in the API until somebody deletes it."""
    assert read_pod(pod_json("p") | {"status": {"phase": phase}}) is None


@pytest.mark.parametrize("item", [None, 5, {}, {"metadata": {"name": "p"}}, {"metadata": {"name": 1, "uid": []}}])
def test_what_is_no_pod_is_passed_over(item: Any) -> None:
    """One odd entry does not hide the others."""
    assert read_pod(item) is None


def test_a_node_tells_where_it_stands(tmp_path: Path) -> None:
    """By its provider id and its well-known labels."""
    with api([], tmp_path, {"node-1": NODE}) as server:
        assert server.identity("node-1") == Identity(
            provider="aws",
            region="us-east-1",
            zone="us-east-1b",
            instance_type="p5.48xlarge",
            instance_id="i-0abc",
            provider_id="aws:///us-east-1b/i-0abc",
        )


@pytest.mark.parametrize(
    ("provider_id", "provider", "instance_id"),
    [
        ("gce://project/us-central1-a/gpu-1", "gcp", None),
        ("azure:///subscriptions/s/x/vm1", "azure", "/subscriptions/s/x/vm1"),
        ("ocid1.instance.oc1.phx.a", "oci", "ocid1.instance.oc1.phx.a"),
        ("kind://docker/kind/node", None, None),
        (None, None, None),
    ],
)
def test_a_provider_id_is_read_as_its_cloud_writes_it(
    provider_id: str | None, provider: str | None, instance_id: str | None
) -> None:
    """Google's names the machine where its bill has the number: then the id stays open."""
    found = read_node({"spec": {"providerID": provider_id}})

    assert (provider, instance_id, provider_id) == (found.provider, found.instance_id, found.provider_id)


def test_outside_of_a_cluster_there_is_no_api_server() -> None:
    """Kubernetes names it to every pod by the environment."""
    assert ApiServer.from_environment({}) is None
    assert ApiServer.from_environment({"KUBERNETES_SERVICE_HOST": "fd00::1"}) == ApiServer(url="https://[fd00::1]:443")
