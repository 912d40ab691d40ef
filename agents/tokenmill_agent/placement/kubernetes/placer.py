"""Placements by the kubelet's list of devices, else by the pod in whose cgroup a GPU's processes are."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.placement.kubernetes.node import KubernetesNode
from tokenmill_agent.placement.kubernetes.podresources import PodDevice
from tokenmill_agent.placement.kubernetes.units import Pod
from tokenmill_agent.records import Placement, Server

_SLICES: Final = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A GPU, or the part of one that `part` names, that a pod holds; a pod of None is one that nobody describes."""

    gpu_uuid: str
    mig_uuid: str | None
    part: str
    slices: int | None
    pod: Pod | None


class KubernetesPlacer:
    """Places GPUs by pod. A GPU that a pod holds is allocated to it, also while nothing runs there."""

    def __init__(self, node: KubernetesNode) -> None:
        self._node = node
        self._parents: dict[str, str] = {}

    def place(
        self,
        observed_at_us: int,
        gpus: Sequence[str],
        wanted: Collection[str],
        processes: Mapping[str, Sequence[GpuProcess]],
        servers: Sequence[Server],
    ) -> list[Placement]:
        """Return the rows of those GPUs of `wanted` that pods hold; `gpus` are all of the node in order."""
        self._node.refresh()
        self._learn_parents(processes)
        held = [
            one
            for device, pod in self._node.devices()
            if (one := self._hold(device, pod, gpus)) is not None and one.gpu_uuid in wanted
        ]
        given = {one.gpu_uuid for one in held}
        for gpu, on_gpu in processes.items():
            if gpu in wanted and gpu not in given:
                held.extend(self._by_process(gpu, on_gpu))
        return self._rows(observed_at_us, list(dict.fromkeys(_keyed(held))), servers)

    def _learn_parents(self, processes: Mapping[str, Sequence[GpuProcess]]) -> None:
        for gpu, on_gpu in processes.items():
            self._parents.update((process.mig_uuid, gpu) for process in on_gpu if process.mig_uuid is not None)

    def _hold(self, device: PodDevice, pod: Pod | None, gpus: Sequence[str]) -> _Held | None:
        """Return what a device's id names on this node: a GPU, an instance of it, or `nvidia0` and `nvidia0/gi3`."""
        text, mig_uuid = device.device_id, None
        if text.startswith("MIG-GPU-"):
            # Drivers before 470 name an instance by its GPU.
            gpu, mig_uuid = text.removeprefix("MIG-").partition("/")[0], text
        elif text.startswith("MIG-"):
            gpu, mig_uuid = self._parents.get(text, ""), text
        elif text.startswith("nvidia"):
            index = text.removeprefix("nvidia").partition("/")[0]
            gpu = gpus[int(index)] if index.isdecimal() and int(index) < len(gpus) else ""
        else:
            gpu = text
        if gpu not in gpus:
            return None
        return _Held(gpu_uuid=gpu, mig_uuid=mig_uuid, part=text, slices=device.mig_slices, pod=pod)

    def _by_process(self, gpu: str, on_gpu: Sequence[GpuProcess]) -> list[_Held]:
        """Return the pods whose processes are on a GPU that no device plugin gave; none if any process is in no pod."""
        held = []
        for process in on_gpu:
            pod = self._node.pod_of_process(process.pid)
            if pod is None:
                return []
            part = process.mig_uuid or gpu
            held.append(_Held(gpu_uuid=gpu, mig_uuid=process.mig_uuid, part=part, slices=None, pod=pod))
        return held

    def _rows(self, observed_at_us: int, held: Sequence["_Key"], servers: Sequence[Server]) -> list[Placement]:
        parts: dict[str, set[str]] = {}
        holders: dict[tuple[str, str], int] = {}
        for key in held:
            parts.setdefault(key.held.gpu_uuid, set()).add(key.held.part)
            holders[key.held.gpu_uuid, key.held.part] = holders.get((key.held.gpu_uuid, key.held.part), 0) + 1
        rows = []
        for key in held:
            one = key.held
            whole = one.slices / _SLICES if one.slices is not None else 1 / len(parts[one.gpu_uuid])
            share = whole / holders[one.gpu_uuid, one.part]
            rows.append(self._row(observed_at_us, one, share, servers))
        return rows

    def _row(self, observed_at_us: int, held: _Held, share: float, servers: Sequence[Server]) -> Placement:
        unit = self._node.unit(held.pod) if held.pod is not None else None
        names = (unit.deployment, unit.replica) if unit is not None else None
        server = next((server for server in servers if (server.deployment, server.replica) == names), None)
        return Placement(
            observed_at_us=observed_at_us,
            gpu_uuid=held.gpu_uuid,
            mig_uuid=held.mig_uuid,
            deployment=unit.deployment if unit is not None else None,
            replica=unit.replica if unit is not None else None,
            role=(unit.role or (server.role if server is not None else None)) if unit is not None else None,
            model_served=(server.model_served if server is not None else None) or (unit.model if unit else None),
            labels=unit.labels if unit is not None else {},
            # The pod holds the GPU from here on, whatever starts and ends in it.
            process_started_at_us=held.pod.started_at_us if held.pod is not None else None,
            share=share,
            # A pod that nobody describes holds the GPU: it is in use, by whom is not known.
            basis="kubernetes" if unit is not None else "unknown_process",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Key:
    """A holder once, however many replicas of a shared GPU, containers or processes it has there."""

    gpu_uuid: str
    part: str
    pod: str | None
    held: _Held = dataclasses.field(compare=False)


def _keyed(held: Iterable[_Held]) -> list[_Key]:
    return [_Key(one.gpu_uuid, one.part, one.pod.uid if one.pod is not None else None, one) for one in held]
