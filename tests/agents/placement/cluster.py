"""A small Kubernetes node: a kubelet that really speaks gRPC on a unix socket, and an API server of pods and nodes."""

import contextlib
import datetime as dt
import ipaddress
import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.agents.identity.serving import Answer, serving
from tokenmill_agent.placement.kubernetes.api import ApiServer
from tokenmill_agent.placement.kubernetes.podresources import LIST_METHOD

UID = "1a2b3c4d-0000-1111-2222-333344445555"
STARTED = "2026-11-24T00:00:00Z"
STARTED_US = 1_795_478_400_000_000


def field(number: int, value: bytes | str | int) -> bytes:
    """Encode one field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Encode an unsigned number of protobuf."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def resources(pod: str, device_ids: Sequence[str], *, resource: str = "nvidia.com/gpu", namespace: str = "ml") -> bytes:
    """Encode one pod of a ListPodResourcesResponse, with the fields beside the ones that are read."""
    topology = field(3, field(1, field(1, 1)))
    devices = field(1, resource) + b"".join(field(2, one) for one in device_ids) + topology
    other = field(1, "example.com/nic") + field(2, "GPU-not-a-gpu")
    container = field(1, "server") + field(2, devices) + field(2, other) + field(3, 5)
    return field(1, field(1, pod) + field(2, namespace) + field(3, field(1, "sidecar")) + field(3, container))


@contextlib.contextmanager
def kubelet(socket: Path, answers: Iterator[bytes]) -> Iterator[None]:
    """Serve PodResourcesLister.List on `socket`; one of `answers` to each call, empty bytes being no pods."""

    def listed(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return next(answers)

    service, _, method = LIST_METHOD.removeprefix("/").partition("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(listed)})
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


def pod_json(
    name: str,
    *,
    uid: str = UID,
    ip: str = "10.1.2.3",
    gpus: int = 0,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: tuple[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a pod as the API shows it."""
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner is not None else []
    return {
        "metadata": {
            "name": name,
            "namespace": "ml",
            "uid": uid,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "ownerReferences": owners,
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "server", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}],
            **more,
        },
        "status": {"phase": "Running", "startTime": STARTED, "podIPs": [{"ip": ip}]},
    }


def api_answers(pods: Sequence[Mapping[str, Any]], account: Path, nodes: Mapping[str, Any] | None = None) -> Answer:
    """Answer as an API server does that lets in the bearer of the current token, two pods a page."""

    def answer(_method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if headers.get("authorization") != f"Bearer {(account / 'token').read_text()}":
            return 401, b'{"kind": "Status"}'
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if found := re.fullmatch(r"/api/v1/nodes/(.+)", url.path):
            node = (nodes or {}).get(found[1])
            return (200, json.dumps(node).encode()) if node is not None else (404, b"{}")
        if url.path != "/api/v1/pods" or query.get("fieldSelector") != "spec.nodeName=node-1":
            return 403, b"{}"
        first = int(query.get("continue", "0"))
        more = {"continue": str(first + 2)} if first + 2 < len(pods) else {}
        return 200, json.dumps({"metadata": more, "items": list(pods[first : first + 2])}).encode()

    return answer


@contextlib.contextmanager
def api(
    pods: Sequence[Mapping[str, Any]], account: Path, nodes: Mapping[str, Any] | None = None
) -> Iterator[ApiServer]:
    """Serve an API over TLS; `account` becomes the directory of a service account."""
    context = authority(account)
    (account / "token").write_text("token-1")
    with serving(api_answers(pods, account, nodes), context=context) as url:
        yield ApiServer(url=url, account_dir=account)


def authority(account: Path) -> ssl.SSLContext:
    """Make a certificate for this machine's address, written to `account` as `ca.crt`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (account / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = account / "server.key"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(account / "ca.crt", private)
    return context
