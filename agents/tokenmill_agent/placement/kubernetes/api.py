"""Reads the pods of one node, and the node itself, from the API server of Kubernetes with the pod's service account."""

import dataclasses
import json
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from tokenmill_agent.clock import MICROSECONDS
from tokenmill_agent.identity.ask import AskError, ask
from tokenmill_agent.placement.kubernetes.units import Pod
from tokenmill_agent.records import Identity

ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account's token and the authority of the API server."""

_TIMEOUT_SECONDS: Final = 5.0
_MAX_BYTES: Final = 16 * 1024 * 1024
_PAGE_PODS: Final = 250
_PAGES_MAX: Final = 40
_GPU_RESOURCE: Final = "nvidia.com/gpu"
_ENDED: Final = ("Succeeded", "Failed")
_PROVIDERS: Final = {"aws": "aws", "gce": "gcp", "azure": "azure", "ocid1.instance": "oci"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """The API server as it is reached from a pod; `account_dir` holds `token` and `ca.crt`."""

    url: str
    account_dir: Path = ACCOUNT_DIR

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ApiServer | None":
        """Return the server that Kubernetes names to every pod; None outside of a cluster."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            return None
        return cls(url=f"https://{f'[{host}]' if ':' in host else host}:{port}")

    def pods(self, node: str) -> list[Pod]:
        """Return the pods of a node that have not ended.

        Raises:
            AskError: no answer, or one that is no list of pods.
        """
        found: list[Pod] = []
        # Version 0 is answered from the server's memory: ten thousand nodes ask, and a few seconds of age do no harm.
        query = {"fieldSelector": f"spec.nodeName={node}", "limit": str(_PAGE_PODS), "resourceVersion": "0"}
        for _ in range(_PAGES_MAX):
            page = self._get(f"/api/v1/pods?{urlencode(query)}")
            items = page.get("items")
            if not isinstance(items, list):
                raise AskError("the answer is no list of pods")
            found.extend(pod for item in items if (pod := read_pod(item)) is not None)
            more = _at(page, "metadata", "continue")
            if not isinstance(more, str) or not more:
                return found
            query = {"fieldSelector": query["fieldSelector"], "limit": query["limit"], "continue": more}
        raise AskError(f"more than {_PAGES_MAX * _PAGE_PODS} pods on one node")

    def identity(self, node: str) -> Identity:
        """Return what the node object says of where the node stands.

        Raises:
            AskError: no answer, or one that is no node.
        """
        return read_node(self._get(f"/api/v1/nodes/{quote(node, safe='')}"))

    def _get(self, path: str) -> dict[str, Any]:
        try:
            # The kubelet renews the token in its file, so that one that is kept grows stale.
            token = (self.account_dir / "token").read_text(encoding="ascii").strip()
            secure = self.url.startswith("https:")
            context = ssl.create_default_context(cafile=self.account_dir / "ca.crt") if secure else None
        except (OSError, UnicodeDecodeError) as error:
            raise AskError(f"cannot read the service account in {self.account_dir}: {error}") from None
        body = ask(
            f"{self.url}{path}",
            headers={"Accept": "application/json", "Authorization": f"Bearer {token}"},
            timeout_seconds=_TIMEOUT_SECONDS,
            max_bytes=_MAX_BYTES,
            context=context,
        )
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise AskError("the answer is no JSON") from None
        if not isinstance(document, dict):
            raise AskError("the answer is no object")
        return document


def read_pod(item: Any) -> Pod | None:
    """Return a pod of the API's JSON; None for one that has ended or is no pod."""
    name, namespace, uid = (_at(item, "metadata", key) for key in ("name", "namespace", "uid"))
    if not (isinstance(name, str) and isinstance(namespace, str) and isinstance(uid, str)):
        return None
    if _at(item, "status", "phase") in _ENDED:
        return None
    annotations = _texts(_at(item, "metadata", "annotations"))
    owners = _list(_at(item, "metadata", "ownerReferences"))
    owner = next((one for one in owners if _at(one, "controller") is True), None)
    # Pods on the host's network all have its address.
    ips = [] if _at(item, "spec", "hostNetwork") is True else _list(_at(item, "status", "podIPs"))
    return Pod(
        namespace=namespace,
        name=name,
        # The cgroup of a static pod carries this hash instead of the id of its mirror.
        uid=annotations.get("kubernetes.io/config.hash") or uid,
        ips=tuple(ip for one in ips if isinstance(ip := _at(one, "ip"), str)),
        labels=_texts(_at(item, "metadata", "labels")),
        annotations=annotations,
        owner_kind=_text(_at(owner, "kind")),
        owner_name=_text(_at(owner, "name")),
        started_at_us=_time_us(_at(item, "status", "startTime")),
        gpu_count=sum(_gpus(container) for container in _list(_at(item, "spec", "containers"))),
    )


def read_node(item: Any) -> Identity:
    """Return the identity of a node of the API's JSON; the labels are those that Kubernetes calls well known."""
    labels = _texts(_at(item, "metadata", "labels"))
    provider_id = _text(_at(item, "spec", "providerID"))
    scheme = next((scheme for scheme in _PROVIDERS if (provider_id or "").startswith(scheme)), None)
    return Identity(
        provider=_PROVIDERS[scheme] if scheme is not None else None,
        region=labels.get("topology.kubernetes.io/region"),
        zone=labels.get("topology.kubernetes.io/zone"),
        instance_type=labels.get("node.kubernetes.io/instance-type"),
        instance_id=_instance_id(scheme, provider_id),
        provider_id=provider_id,
    )


def _instance_id(scheme: str | None, provider_id: str | None) -> str | None:
    if provider_id is None or scheme in (None, "gce"):
        # Google's names the machine, its bill the number.
        return None
    if scheme == "azure":
        return provider_id.removeprefix("azure://")
    return provider_id.rpartition("/")[2] or None


def _gpus(container: Any) -> int:
    text = str(_at(container, "resources", "limits", _GPU_RESOURCE) or "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _time_us(text: Any) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * MICROSECONDS)
    except (TypeError, ValueError):
        return None


def _at(document: Any, *path: str) -> Any:
    for step in path:
        if not isinstance(document, dict):
            return None
        document = document.get(step)
    return document


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(key): text for key, text in value.items() if isinstance(text, str)}
