"""Asks the kubelet which devices it gave to which pod: PodResourcesLister.List of `v1`, over its unix socket.

Field numbers are those of k8s.io/kubelet/pkg/apis/podresources/v1/api.proto. The four messages that are needed are read
by hand: generated code would bring a build step and a protobuf runtime for two nested lists of strings.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LIST_METHOD: Final = "/v1.PodResourcesLister/List"

_MAX_BYTES: Final = 16 * 1024 * 1024
_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_VARINT_BITS_MAX: Final = 63
_RESOURCE_PREFIX: Final = "nvidia.com/"
# GPU-…::3 is a time-sliced replica, MIG-…::7 the same of an instance (NVIDIA device plugin); …/vgpu2 is Google's.
_REPLICA: Final = re.compile(r"(::\d+|/vgpu\d+)$")
_PROFILE: Final = re.compile(r"mig-(\d)g\.")


class PodResourcesError(Exception):
    """The kubelet did not answer, or with something else than was asked for; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PodDevice:
    """One device that a pod's container holds. `device_id` is as `stripped` gives it.

    `mig_slices` is how many sevenths of the GPU's compute the resource's profile names, None on a whole GPU.
    """

    namespace: str
    pod: str
    container: str
    device_id: str
    mig_slices: int | None


def list_devices(socket: Path, *, timeout_seconds: float) -> list[PodDevice]:
    """Return every NVIDIA device that a pod of this node holds.

    Raises:
        PodResourcesError: no answer in time, or none that can be read.
        ImportError: grpcio is not installed.
    """
    # Only an agent on Kubernetes pays for it, and only the extra `kubernetes` installs it.
    import grpc  # noqa: PLC0415 - see above

    options = [("grpc.max_receive_message_length", _MAX_BYTES), ("grpc.enable_http_proxy", 0)]
    try:
        with grpc.insecure_channel(f"unix://{socket}", options=options) as channel:
            call = channel.unary_unary(LIST_METHOD)
            answer = call(b"", timeout=timeout_seconds)
    except grpc.RpcError as error:
        code = getattr(error, "code", lambda: None)()
        raise PodResourcesError(f"the kubelet at {socket} does not answer: {getattr(code, 'name', code)}") from None
    return decode(answer)


def decode(answer: bytes) -> list[PodDevice]:
    """Return the NVIDIA devices of an encoded ListPodResourcesResponse.

    Raises:
        PodResourcesError: not such a message.
    """
    try:
        return list(_devices(answer))
    except (ValueError, IndexError):
        raise PodResourcesError("the kubelet's answer is no ListPodResourcesResponse") from None


def stripped(device_id: str) -> str:
    """Return a device's id without what tells its shares apart: `GPU-…::3`, `MIG-…::7`, `nvidia0/vgpu2`."""
    return _REPLICA.sub("", device_id)


def _devices(answer: bytes) -> Iterator[PodDevice]:
    for pod in _fields(answer, 1):
        name, namespace = _text(pod, 1), _text(pod, 2)
        for container in _fields(pod, 3):
            for devices in _fields(container, 2):
                resource = _text(devices, 1)
                if not resource.startswith(_RESOURCE_PREFIX):
                    continue
                profile = _PROFILE.search(resource)
                for device_id in _fields(devices, 2):
                    yield PodDevice(
                        namespace=namespace,
                        pod=name,
                        container=_text(container, 1),
                        device_id=stripped(device_id.decode("utf-8")),
                        mig_slices=int(profile[1]) if profile is not None else None,
                    )


def _text(message: bytes, number: int) -> str:
    return next((value.decode("utf-8") for value in _fields(message, number)), "")


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield every value of a length-delimited field; all other fields are passed over, as protobuf demands."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if number == wanted and at + size <= len(message):
                yield message[at : at + size]
            at += size
        else:
            raise ValueError
    if at != len(message):
        raise ValueError


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS_MAX + 1, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError
