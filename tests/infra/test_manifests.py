"""The manifests of Kubernetes: held to the API's own types, and asking for no more than the agent needs."""

import dataclasses
import importlib
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenmill_agent.config import load
from tokenmill_agent.placement.kubernetes.api import ACCOUNT_DIR

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "kubernetes"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
MODULES = {
    "v1": "kube_models.api_v1.io.k8s.api.core.v1",
    "apps/v1": "kube_models.apis_apps_v1.io.k8s.api.apps.v1",
    "rbac.authorization.k8s.io/v1": "kube_models.apis_rbac_authorization_k8s_io_v1.io.k8s.api.rbac.v1",
}
SCALARS = (str, int, float, bool)


def documents() -> list[dict[str, Any]]:
    """Return every object of every manifest."""
    return [one for path in FILES for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def named(kind: str) -> dict[str, Any]:
    """Return the one object of a kind."""
    (found,) = (one for one in documents() if one["kind"] == kind)
    return found


def container() -> dict[str, Any]:
    """Return the agent's container."""
    (found,) = named("DaemonSet")["spec"]["template"]["spec"]["containers"]
    return typing.cast("dict[str, Any]", found)


def violations(value: Any, hint: Any, where: str) -> Iterator[str]:
    """Yield what in a value of a manifest is not as a type of the API says: unknown, missing or of another type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        found = [list(violations(value, one, where)) for one in arguments if one is not type(None)]
        yield from () if [] in found else found[0]
    elif origin is list:
        for index, item in enumerate(value if isinstance(value, list) else [f"no list: {value}"]):
            yield from violations(item, arguments[0], f"{where}[{index}]")
    elif origin is dict:
        for key, item in (value if isinstance(value, dict) else {"": f"no map: {value}"}).items():
            yield from violations(item, arguments[1], f"{where}.{key}")
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield from object_violations(value, hint, where)
    elif hint in SCALARS and type(value) is not hint:
        yield f"{where}: {value!r} is no {hint.__name__}"


def object_violations(value: Any, hint: type, where: str) -> Iterator[str]:
    """Yield what is wrong with an object."""
    if not isinstance(value, Mapping):
        yield f"{where}: {value!r} is no {hint.__name__}"
        return
    hints = typing.get_type_hints(hint)
    known = {field.metadata.get("original_name", field.name): field for field in dataclasses.fields(hint)}
    for key, item in value.items():
        if key not in known and not (key in ("apiVersion", "kind") and key in hints):
            yield f"{where}.{key}: {hint.__name__} has no such field"
        elif key in known:
            yield from violations(item, hints[known[key].name], f"{where}.{key}")
    for name, field in known.items():
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING and name not in value:
            yield f"{where}: {hint.__name__} needs {name}"


def check(document: Mapping[str, Any]) -> list[str]:
    """Return every violation of an object of the API."""
    model = getattr(importlib.import_module(MODULES[document["apiVersion"]]), document["kind"])
    return list(violations(document, model, document["kind"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_manifest_is_what_the_api_takes(path: Path) -> None:
    """Every field exists, has its type, and none that is required is missing."""
    assert [] == [text for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) for text in check(one)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hostPid": True}, "has no such field"),
        ({"hostPID": "yes"}, "is no bool"),
        ({"containers": [{"image": "x"}]}, "needs name"),
        ({"containers": [{"name": "x", "ports": [{"containerPort": "9477"}]}]}, "is no int"),
        ({"tolerations": {"operator": "Exists"}}, "no list"),
    ],
)
def test_the_check_finds_what_is_wrong(change: dict[str, Any], said: str) -> None:
    """A field that is misspelt, of another type or not there."""
    broken = named("DaemonSet")
    broken["spec"]["template"]["spec"] |= change

    assert any(said in text for text in check(broken))


def test_every_manifest_is_applied() -> None:
    """The kustomization names each file once."""
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))

    assert [path.name for path in FILES] == sorted(listed["resources"])
    assert [container()["image"]] == [image["name"] for image in listed["images"]]


def test_the_service_account_may_list_pods_and_get_nodes_and_nothing_else() -> None:
    """No secrets, no writing, no watching."""
    rules = named("ClusterRole")["rules"]

    assert [([""], ["pods"], ["list"]), ([""], ["nodes"], ["get"])] == [
        (rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in rules
    ]


def test_role_account_and_pod_belong_together() -> None:
    """The binding joins the role to the account that the pods run as."""
    binding, account = named("ClusterRoleBinding"), named("ServiceAccount")["metadata"]["name"]
    (subject,) = binding["subjects"]

    assert named("ClusterRole")["metadata"]["name"] == binding["roleRef"]["name"]
    assert (account, named("Namespace")["metadata"]["name"]) == (subject["name"], subject["namespace"])
    assert account == named("DaemonSet")["spec"]["template"]["spec"]["serviceAccountName"]


def test_the_agent_gives_up_the_rights_that_it_does_not_need() -> None:
    """It sees the host's processes, and can neither write its image nor gain a right."""
    pod, security = named("DaemonSet")["spec"]["template"]["spec"], container()["securityContext"]

    assert (True, False, False) == (pod["hostPID"], pod.get("hostNetwork", False), pod.get("hostIPC", False))
    assert security == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": CAPABILITIES},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


CAPABILITIES = ["SYS_PTRACE", "DAC_READ_SEARCH"]


def test_the_state_alone_is_written() -> None:
    """Every mount has its volume, and every other one is read."""
    mounts, pod = container()["volumeMounts"], named("DaemonSet")["spec"]["template"]["spec"]

    assert {"state"} == {mount["name"] for mount in mounts if not mount.get("readOnly")}
    assert sorted(volume["name"] for volume in pod["volumes"]) == sorted(mount["name"] for mount in mounts)


def test_the_configuration_is_one_that_the_agent_takes(tmp_path: Path) -> None:
    """With the variables of its container; state and socket lie where they are mounted."""
    text = named("ConfigMap")["data"]["tokenmill.toml"]
    (tmp_path / "tokenmill.toml").write_text(text, encoding="utf-8")
    environ = {"TOKENMILL_AGENT_NODE": "node-1"}
    config = load(tmp_path / "tokenmill.toml", environ=environ, agent_flags={}, kafka_flags={})
    paths = {mount["mountPath"] for mount in container()["volumeMounts"]}
    port = container()["ports"][0]["containerPort"]

    assert tomllib.loads(text)["agent"]["kubernetes"] == config.agent.kubernetes
    assert {str(config.agent.state_dir), str(config.agent.pod_resources_socket.parent)} <= paths
    assert ("node-1", port) == (config.node, config.agent.telemetry_port)


def test_the_variables_are_those_that_the_agent_reads() -> None:
    """The node's name in the cluster is the agent's name of it."""
    variables = {one["name"]: one for one in container()["env"]}

    assert "spec.nodeName" == variables["TOKENMILL_AGENT_NODE"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert {"TOKENMILL_CONFIG", "TOKENMILL_AGENT_NODE"} == {name for name in variables if name.startswith("TOKENMILL")}
    assert named("DaemonSet")["spec"]["template"]["spec"]["automountServiceAccountToken"]
    assert "/var/run/secrets/kubernetes.io/serviceaccount" == str(ACCOUNT_DIR)
