"""GPUs by pod: the kubelet's list first, the cgroups of processes where a plugin gave nothing."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.agents.placement.cluster import STARTED_US, UID, api, kubelet, pod_json, resources
from tests.agents.placement.rows import on_gpu, server_at
from tests.agents.placement.test_kubernetes_node import node_of, process
from tokenmill_agent.clock import SystemClock
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.placement.kubernetes.placer import KubernetesPlacer
from tokenmill_agent.placement.placer import Placer
from tokenmill_agent.placement.settings import PlacementSettings
from tokenmill_agent.records import Placement, Server

OTHER = "9f9f9f9f-0000-1111-2222-333344445555"
GPUS = ("GPU-a", "GPU-b")


@contextlib.contextmanager
def placer(tmp_path: Path, answer: bytes, pods: Sequence[Mapping[str, Any]]) -> Iterator[KubernetesPlacer]:
    """Return a placer on a node whose kubelet always gives the same answer."""
    with api(pods, tmp_path) as server, kubelet(tmp_path / "kubelet.sock", iter([answer] * 9)):
        yield KubernetesPlacer(node_of(server, tmp_path))


def place(
    one: KubernetesPlacer,
    processes: Mapping[str, Sequence[GpuProcess]] | None = None,
    servers: Sequence[Server] = (),
) -> list[Placement]:
    """Return the rows of all GPUs."""
    return one.place(5, GPUS, GPUS, processes or {}, servers)


def test_a_gpu_of_a_pod_is_allocated_while_nothing_runs(tmp_path: Path) -> None:
    """The pod holds it from its start on."""
    with placer(tmp_path, resources("chat-0", ["GPU-b"]), [pod_json("chat-0", labels={"team": "t"})]) as one:
        rows = place(one, {"GPU-a": [], "GPU-b": []})

    assert rows == [
        Placement(
            observed_at_us=5,
            gpu_uuid="GPU-b",
            mig_uuid=None,
            deployment="ml/chat-0",
            replica="ml/chat-0",
            role=None,
            model_served=None,
            labels={"namespace": "ml", "team": "t"},
            process_started_at_us=STARTED_US,
            share=1.0,
            basis="kubernetes",
        )
    ]


def test_a_gpu_takes_role_and_model_of_the_server_of_its_unit(tmp_path: Path) -> None:
    """Where no label says them."""
    server = dataclasses.replace(server_at(1), deployment="ml/chat-0", replica="ml/chat-0")
    with placer(tmp_path, resources("chat-0", ["GPU-a"]), [pod_json("chat-0")]) as one:
        rows = place(one, servers=[server_at(1), server])

    assert [("aggregated", "tiny")] == [(row.role, row.model_served) for row in rows]


def test_pods_that_share_a_gpu_share_its_cost(tmp_path: Path) -> None:
    """Time-sliced replicas of it have ids that differ in a suffix; two of one pod count once."""
    answer = resources("x", ["GPU-a::0", "GPU-a::1"]) + resources("y", ["GPU-a::2"])
    with placer(tmp_path, answer, [pod_json("x"), pod_json("y", uid=OTHER)]) as one:
        rows = place(one)

    assert [("ml/x", 0.5), ("ml/y", 0.5)] == [(row.replica, row.share) for row in rows]


def test_an_instance_is_a_part_of_its_gpu(tmp_path: Path) -> None:
    """Its GPU is known from a process that was seen on it, its size from its profile."""
    answer = resources("x", ["MIG-1"], resource="nvidia.com/mig-3g.40gb")
    with placer(tmp_path, answer, [pod_json("x")]) as one:
        before = place(one)
        rows = place(one, {"GPU-b": [on_gpu(5, mig_uuid="MIG-1")]})

    assert [] == before
    assert [("GPU-b", "MIG-1", 3 / 7)] == [(row.gpu_uuid, row.mig_uuid, row.share) for row in rows]


def test_ids_of_older_drivers_and_of_google_name_their_gpu(tmp_path: Path) -> None:
    """By the GPU's own id in them, or by its index."""
    answer = resources("x", ["MIG-GPU-a/3/0"], resource="nvidia.com/mig-1g.10gb") + resources("y", ["nvidia1/vgpu0"])
    with placer(tmp_path, answer, [pod_json("x"), pod_json("y", uid=OTHER)]) as one:
        rows = place(one)

    assert [("GPU-a", "MIG-GPU-a/3/0", 1 / 7), ("GPU-b", None, 1.0)] == [
        (row.gpu_uuid, row.mig_uuid, row.share) for row in rows
    ]


def test_a_device_that_is_not_on_this_node_has_no_row(tmp_path: Path) -> None:
    """Nor has an index that is too high."""
    with placer(tmp_path, resources("x", ["GPU-z", "nvidia7", "nvidiax", "MIG-q"]), [pod_json("x")]) as one:
        assert [] == place(one)


def test_a_pod_that_the_api_does_not_tell_of_holds_its_gpu_unattributed(tmp_path: Path) -> None:
    """It is neither idle nor given a name that would change later."""
    with placer(tmp_path, resources("x", ["GPU-a"]), []) as one:
        assert [("GPU-a", None, "unknown_process")] == [(r.gpu_uuid, r.replica, r.basis) for r in place(one)]


def test_a_gpu_that_no_plugin_gave_is_placed_by_the_cgroup_of_its_processes(tmp_path: Path) -> None:
    """Claims of dynamic resource allocation are not in the kubelet's list of devices."""
    process(tmp_path, 7, f"0::/kubepods/pod{UID}/1\n")
    process(tmp_path, 8, "0::/user.slice\n")
    with placer(tmp_path, b"", [pod_json("x")]) as one:
        rows = place(one, {"GPU-a": [on_gpu(7), on_gpu(7)], "GPU-b": [on_gpu(7), on_gpu(8)]})

    assert [("GPU-a", "ml/x", 1.0)] == [(row.gpu_uuid, row.replica, row.share) for row in rows]


def test_kubernetes_ranks_between_configuration_and_processes(tmp_path: Path) -> None:
    """What is left after both is told by its processes."""
    configured = PlacementSettings(gpus=("GPU-a",), deployment="batch", replica="b1")
    answer = resources("x", ["GPU-a", "GPU-b"])
    with placer(tmp_path, answer, [pod_json("x")]) as one:
        rows = Placer((configured,), clock=SystemClock(), kubernetes=one).place(
            5, {"GPU-a": [], "GPU-b": None, "GPU-c": []}, []
        )

    assert [("GPU-a", "static"), ("GPU-b", "kubernetes"), ("GPU-c", "empty")] == [
        (row.gpu_uuid, row.basis) for row in rows
    ]
