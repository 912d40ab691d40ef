"""The kubelet's list of devices."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.placement.cluster import field, kubelet, resources
from tokenmill_agent.placement.kubernetes.podresources import (
    PodDevice,
    PodResourcesError,
    decode,
    list_devices,
    stripped,
)


def test_a_kubelet_tells_which_pod_holds_which_gpu(tmp_path: Path) -> None:
    """Over its unix socket, by real gRPC; devices of other kinds are left out."""
    answer = resources("chat-0", ["GPU-a", "GPU-b"]) + resources("batch", ["GPU-c"], namespace="night")
    with kubelet(tmp_path / "kubelet.sock", iter([answer])):
        found = list_devices(tmp_path / "kubelet.sock", timeout_seconds=30)

    assert [("ml", "chat-0", "GPU-a"), ("ml", "chat-0", "GPU-b"), ("night", "batch", "GPU-c")] == [
        (device.namespace, device.pod, device.device_id) for device in found
    ]


def test_a_node_without_pods_has_no_devices(tmp_path: Path) -> None:
    """An empty message is an answer."""
    with kubelet(tmp_path / "kubelet.sock", iter([b""])):
        assert [] == list_devices(tmp_path / "kubelet.sock", timeout_seconds=30)


def test_a_kubelet_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The socket and gRPC's own word for what is wrong."""
    with pytest.raises(PodResourcesError, match=r"kubelet\.sock does not answer: (UNAVAILABLE|DEADLINE_EXCEEDED)"):
        list_devices(tmp_path / "kubelet.sock", timeout_seconds=1)


@pytest.mark.parametrize(
    ("device_id", "expected"),
    [
        ("GPU-5a::3", "GPU-5a"),
        ("MIG-5a::7", "MIG-5a"),
        ("nvidia0/vgpu2", "nvidia0"),
        ("nvidia0/gi3/vgpu1", "nvidia0/gi3"),
        ("nvidia0/gi3", "nvidia0/gi3"),
        ("MIG-GPU-5a/3/0", "MIG-GPU-5a/3/0"),
        ("GPU-5a", "GPU-5a"),
    ],
)
def test_what_tells_shares_apart_is_stripped(device_id: str, expected: str) -> None:
    """Several pods on one GPU have ids that differ only in a suffix."""
    assert expected == stripped(device_id)


def test_the_profile_of_an_instance_says_its_size() -> None:
    """Sevenths of the GPU's compute stand in the resource's name."""
    found = decode(resources("chat-0", ["MIG-a::1"], resource="nvidia.com/mig-3g.40gb"))

    assert [
        PodDevice(namespace="ml", pod="chat-0", container="server", device_id="MIG-a", mig_slices=3),
    ] == found


def test_fields_that_are_not_known_are_passed_over() -> None:
    """A newer kubelet says more; the four kinds of values are all skipped by their size."""
    more = field(9, 300) + bytes([10 << 3 | 1]) + bytes(8) + bytes([11 << 3 | 5]) + bytes(4) + field(12, b"x")

    assert ["GPU-a"] == [device.device_id for device in decode(more + resources("p", ["GPU-a"]) + more)]


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_no_bytes_break_the_reader(answer: bytes) -> None:
    """It gives devices or says that it cannot read them."""
    try:
        found = decode(answer)
    except PodResourcesError:
        return
    assert all(isinstance(device.device_id, str) for device in found)


@given(st.integers(min_value=1, max_value=80))
@settings(max_examples=30)
def test_a_message_that_was_cut_off_is_refused(cut: int) -> None:
    """Half a list is no list."""
    whole = resources("chat-0", ["GPU-a", "GPU-b"])
    with pytest.raises(PodResourcesError):
        decode(whole[: -min(cut, len(whole) - 1)])
