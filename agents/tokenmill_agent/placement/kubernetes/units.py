"""Names the serving unit of a pod by its labels: the same string on every node, whichever pod of the unit is asked.

Where each name is documented: LeaderWorkerSet "Labels, Annotations and Environment Variables"; NVIDIA Dynamo, constants
of its Kubernetes operator; llm-d, the role filters of its inference scheduler; KServe, the pods of InferenceService and
LLMInferenceService; Grove, its common labels; Kubernetes, "Well-Known Labels, Annotations and Taints".
"""

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Final, cast

from tokenmill_agent.records import Role

OWN_PREFIX: Final = "tokenmill.io/"
"""Annotations (or labels) that win over all others: deployment, replica, role, model, expected-gpu-count."""

_DYNAMO_GRAPH: Final = "nvidia.com/dynamo-graph-deployment-name"
_DYNAMO_TYPES: Final = ("nvidia.com/dynamo-sub-component-type", "nvidia.com/dynamo-component-type")
_DYNAMO_MODEL: Final = "nvidia.com/dynamo-base-model"
_LWS_NAME: Final = "leaderworkerset.sigs.k8s.io/name"
_LWS_GROUP: Final = "leaderworkerset.sigs.k8s.io/group-index"
_LWS_SIZE: Final = "leaderworkerset.sigs.k8s.io/size"
_GROVE_GROUP: Final = "grove.io/podcliquescalinggroup"
_GROVE_INDEX: Final = "grove.io/podcliquescalinggroup-replica-index"
_LLM_D_ROLE: Final = "llm-d.ai/role"
_LLM_D_MODEL: Final = "llm-d.ai/model"
_KSERVE_NAME: Final = "serving.kserve.io/inferenceservice"
_KSERVE_LLM: Final = "llminferenceservice"
_APP_NAME: Final = "app.kubernetes.io/name"
_APP_INSTANCE: Final = "app.kubernetes.io/instance"
_APP_PART_OF: Final = "app.kubernetes.io/part-of"
_TEMPLATE_HASHES: Final = ("pod-template-hash", "rollouts-pod-template-hash")
_ROLES: Final[Mapping[str, Role]] = {"prefill": "prefill", "decode": "decode", "both": "aggregated"}
_MAX_CHARACTERS: Final = 512


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What is taken of a pod. `gpu_count` is how many whole GPUs its containers ask for; parts of GPUs count none."""

    namespace: str
    name: str
    uid: str
    ips: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_kind: str | None
    owner_name: str | None
    started_at_us: int | None
    gpu_count: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The serving unit that a pod is, or is a part of."""

    deployment: str
    replica: str
    role: Role | None
    model: str | None
    expected_gpu_count: int | None
    labels: dict[str, str]


def unit_of(pod: Pod, label_names: Iterable[str]) -> Unit:
    """Return the unit of a pod, with its namespace and those of `label_names` that it carries as labels."""
    return Unit(
        deployment=_own(pod, "deployment") or f"{pod.namespace}/{_deployment(pod)}",
        replica=_own(pod, "replica") or f"{pod.namespace}/{_replica(pod)}",
        role=_role(pod),
        model=_own(pod, "model") or pod.annotations.get(_DYNAMO_MODEL) or None,
        expected_gpu_count=_expected_gpu_count(pod),
        labels={
            "namespace": pod.namespace,
            **{name: pod.labels[name][:_MAX_CHARACTERS] for name in label_names if pod.labels.get(name)},
        },
    )


def _deployment(pod: Pod) -> str:
    labels = pod.labels
    if labels.get(_APP_PART_OF) == _KSERVE_LLM and labels.get(_APP_NAME):
        # Its prefill and its decode pods have owners of different names.
        return labels[_APP_NAME]
    if _LLM_D_ROLE in labels and (labels.get(_APP_INSTANCE) or labels.get(_LLM_D_MODEL)):
        return labels.get(_APP_INSTANCE) or labels[_LLM_D_MODEL]
    named = (labels.get(name) for name in (_DYNAMO_GRAPH, _KSERVE_NAME, _LWS_NAME))
    return next((name for name in named if name), None) or _owner(pod) or labels.get(_APP_NAME) or pod.name


def _replica(pod: Pod) -> str:
    for name, index in ((_LWS_NAME, _LWS_GROUP), (_GROVE_GROUP, _GROVE_INDEX)):
        if pod.labels.get(name) and pod.labels.get(index):
            return f"{pod.labels[name]}-{pod.labels[index]}"
    return pod.name


def _owner(pod: Pod) -> str | None:
    if pod.owner_name is None or pod.owner_kind != "ReplicaSet":
        return pod.owner_name
    hashes = (pod.labels.get(name) for name in _TEMPLATE_HASHES)
    found = next((text for text in hashes if text and pod.owner_name.endswith(f"-{text}")), None)
    return pod.owner_name.removesuffix(f"-{found}") if found is not None else pod.owner_name


def _role(pod: Pod) -> Role | None:
    own = _own(pod, "role")
    if own is not None:
        return cast("Role", own) if own in typing.get_args(Role) else "unknown"
    said = (pod.labels.get(name, "") for name in (*_DYNAMO_TYPES, _LLM_D_ROLE))
    return next((_ROLES[text] for text in said if text in _ROLES), None)


def _expected_gpu_count(pod: Pod) -> int | None:
    own = _number(_own(pod, "expected-gpu-count"))
    if own is not None or not pod.gpu_count:
        return own
    if _GROVE_INDEX in pod.labels:
        # How many pods a group has is not on the pod.
        return None
    if _LWS_NAME not in pod.labels:
        return pod.gpu_count
    # The pods of a group are taken to be alike; where they are not, the annotation says the sum.
    size = _number(pod.annotations.get(_LWS_SIZE))
    return size * pod.gpu_count if size is not None else None


def _own(pod: Pod, name: str) -> str | None:
    key = f"{OWN_PREFIX}{name}"
    return (pod.annotations.get(key) or pod.labels.get(key) or "")[:_MAX_CHARACTERS] or None


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 9):
        return None
    return int(text) or None
