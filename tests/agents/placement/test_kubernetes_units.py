"""Which unit a pod is, or is a part of, by labels of each system that deploys servers."""

import pytest

from tests.agents.placement.cluster import pod_json
from tokenmill_agent.placement.kubernetes.api import read_pod
from tokenmill_agent.placement.kubernetes.units import Unit, unit_of

LWS = {
    "leaderworkerset.sigs.k8s.io/name": "r1",
    "leaderworkerset.sigs.k8s.io/group-index": "2",
    "leaderworkerset.sigs.k8s.io/group-key": "3e238779391c8fd563d42eb5af19391bdcd7c130",
}
LWS_SIZE = {"leaderworkerset.sigs.k8s.io/size": "2"}
DYNAMO = {"nvidia.com/dynamo-graph-deployment-name": "chat", "nvidia.com/dynamo-component-type": "worker"}


def unit(
    name: str = "p",
    *,
    gpus: int = 0,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    owner: tuple[str, str] | None = None,
) -> Unit:
    """Return the unit of a pod as the API shows it."""
    pod = read_pod(pod_json(name, gpus=gpus, labels=labels, annotations=annotations, owner=owner))
    assert pod is not None
    return unit_of(pod, ("team", "owner"))


def test_leader_and_workers_of_a_group_are_one_replica() -> None:
    """Whichever pod is asked, on whichever node, name and number of GPUs are the same."""
    leader = unit("r1-2", gpus=8, labels=LWS, annotations=LWS_SIZE, owner=("StatefulSet", "r1"))
    worker = unit("r1-2-1", gpus=8, labels=LWS, annotations=LWS_SIZE, owner=("StatefulSet", "r1-2"))

    assert ("ml/r1", "ml/r1-2", 16) == (leader.deployment, leader.replica, leader.expected_gpu_count)
    assert leader == worker


def test_a_pod_of_a_deployment_is_a_replica_of_it() -> None:
    """The hash of its template, which every rollout changes, is no part of the name."""
    found = unit("chat-7f9c6d-x2", gpus=4, labels={"pod-template-hash": "7f9c6d"}, owner=("ReplicaSet", "chat-7f9c6d"))

    assert ("ml/chat", "ml/chat-7f9c6d-x2", 4) == (found.deployment, found.replica, found.expected_gpu_count)


@pytest.mark.parametrize(
    ("owner", "labels", "deployment"),
    [
        (("StatefulSet", "chat"), {}, "ml/chat"),
        (("ReplicaSet", "chat-1"), {}, "ml/chat-1"),
        (None, {"app.kubernetes.io/name": "vllm"}, "ml/vllm"),
        (None, {}, "ml/p"),
    ],
)
def test_an_owner_names_more_than_an_app_and_an_app_more_than_a_pod(
    owner: tuple[str, str] | None, labels: dict[str, str], deployment: str
) -> None:
    """The name of an app is often that of the engine."""
    assert deployment == unit(owner=owner, labels=labels).deployment


def test_prefill_and_decode_of_a_dynamo_graph_are_one_deployment() -> None:
    """The role stands in the finer of two labels, or in the type itself."""
    older = unit("a", labels=DYNAMO | {"nvidia.com/dynamo-sub-component-type": "prefill"})
    newer = unit("b", labels=DYNAMO | {"nvidia.com/dynamo-component-type": "decode"})

    assert [("ml/chat", "prefill"), ("ml/chat", "decode")] == [(one.deployment, one.role) for one in (older, newer)]


def test_a_worker_of_a_dynamo_graph_without_more_has_no_known_role() -> None:
    """It may be an aggregated one or the decode side of a graph of older form."""
    assert unit(labels=DYNAMO).role is None


def test_a_dynamo_worker_over_several_nodes_is_one_replica() -> None:
    """Its operator makes LeaderWorkerSets or scaling groups of Grove."""
    grove = {"grove.io/podcliquescalinggroup": "chat-0-decode", "grove.io/podcliquescalinggroup-replica-index": "1"}
    found = [unit("a", gpus=8, labels=DYNAMO | grove), unit("b", labels=DYNAMO | LWS)]

    assert [("ml/chat", "ml/chat-0-decode-1", None), ("ml/chat", "ml/r1-2", None)] == [
        (one.deployment, one.replica, one.expected_gpu_count) for one in found
    ]


@pytest.mark.parametrize(("said", "role"), [("prefill", "prefill"), ("decode", "decode"), ("both", "aggregated")])
def test_llm_d_says_the_role_and_its_release_joins_the_roles(said: str, role: str) -> None:
    """Prefill and decode pods have owners of different names."""
    labels = {"llm-d.ai/role": said, "app.kubernetes.io/instance": "ms-qwen"}
    found = unit(labels=labels, owner=("ReplicaSet", f"ms-qwen-{said}-1"))

    assert ("ml/ms-qwen", role) == (found.deployment, found.role)


def test_an_llm_d_pod_without_a_release_is_joined_by_its_model() -> None:
    """The label that its own scheduler selects by."""
    assert "ml/qwen" == unit(labels={"llm-d.ai/role": "decode", "llm-d.ai/model": "qwen"}).deployment


def test_an_inference_service_of_kserve_is_a_deployment() -> None:
    """Both kinds: the older one by its own label, the one for language models by name and part."""
    older = unit(labels={"serving.kserve.io/inferenceservice": "qwen"})
    newer = unit(
        labels={
            "app.kubernetes.io/part-of": "llminferenceservice",
            "app.kubernetes.io/name": "qwen",
            "llm-d.ai/role": "both",
        },
        owner=("ReplicaSet", "qwen-kserve-1"),
    )

    assert ["ml/qwen", "ml/qwen"] == [older.deployment, newer.deployment]


def test_annotations_of_ones_own_win() -> None:
    """They are taken as they are written, without the namespace."""
    said = {"deployment": "d", "replica": "r", "role": "decode", "model": "m", "expected-gpu-count": "12"}
    annotations = {f"tokenmill.io/{name}": text for name, text in said.items()} | LWS_SIZE

    assert unit(gpus=8, labels=LWS | DYNAMO, annotations=annotations) == Unit(
        deployment="d", replica="r", role="decode", model="m", expected_gpu_count=12, labels={"namespace": "ml"}
    )


def test_a_role_that_does_not_exist_is_unknown() -> None:
    """Then no token of the deployment is counted on a guess."""
    assert "unknown" == unit(annotations={"tokenmill.io/role": "prefil"}).role


@pytest.mark.parametrize("text", ["0", "-1", "x", "1e3", "9" * 20])
def test_a_number_that_cannot_be_right_is_passed_over(text: str) -> None:
    """What the pod asks for is known then all the same."""
    assert 4 == unit(gpus=4, annotations={"tokenmill.io/expected-gpu-count": text}).expected_gpu_count


def test_only_allowed_labels_are_sent_on() -> None:
    """The namespace always is."""
    found = unit(labels={"team": "search", "secret": "x", "owner": ""})

    assert {"namespace": "ml", "team": "search"} == found.labels
