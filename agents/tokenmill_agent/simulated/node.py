"""One invented node: what each of its GPUs and servers would show at a moment."""

import uuid
from dataclasses import dataclass
from typing import Final

from tokenmill_agent.clock import MICROSECONDS
from tokenmill_agent.records import Device, Identity, Placement, Server
from tokenmill_agent.simulated.load import PPM, LoadCurve, fraction
from tokenmill_agent.simulated.scenario import Deployment, Scenario

ENGINE: Final = "vllm"
ENGINE_VERSION: Final = "0.33.0"
DRIVER_VERSION: Final = "580.105.08"

_BOOTED_BEFORE_US: Final = 3 * 24 * 3600 * MICROSECONDS
_SERVING_BEFORE_US: Final = 24 * 3600 * MICROSECONDS
_NAMESPACE: Final = uuid.UUID("0f1e5a1c-6d0f-4f6b-9f5c-6d6f696c6c21")
_FIRST_PORT: Final = 8000
_FIRST_PID: Final = 4_000_000
"""Above any process id that Linux gives by default, so that none is ever taken for one of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One serving process and the GPUs that it holds."""

    deployment: Deployment
    name: str
    gpus: tuple[int, ...]
    pid: int
    load: LoadCurve
    server: Server


class SimulatedNode:
    """Counters as functions of the wall time. The same scenario, seed and `since_us` give the same counters."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        since_us: int,
        seed: int = 1,
        node: str | None = None,
        identity: Identity | None = None,
    ) -> None:
        """Invent the node; its counters have counted for days before `since_us`, and move from there."""
        self.name = node or scenario.node
        self.scenario = scenario
        self.since_us = since_us
        self.booted_at_us = since_us - _BOOTED_BEFORE_US
        self.identity = identity or scenario.identity
        self._key = f"{seed}/{self.name}"
        self.boot_id = str(uuid.uuid5(_NAMESPACE, f"{self._key}/boot/{since_us}"))
        self.replicas = tuple(self._replicas())
        self._replica_of = {gpu: replica for replica in self.replicas for gpu in replica.gpus}
        self.gpu_uuids = tuple(
            f"GPU-{uuid.uuid5(_NAMESPACE, f'{self._key}/gpu/{index}')}" for index in range(scenario.gpu_count)
        )
        self.devices = tuple(self._device(index) for index in range(scenario.gpu_count))
        self._range_milliwatts = tuple(self._power_range(index) for index in range(scenario.gpu_count))

    def energy_millijoules(self, gpu: int, at_us: int) -> int:
        """Return the energy counter of a GPU: exactly the integral of its power since the node was booted."""
        low, swing = self._range_milliwatts[gpu]
        before = low * _BOOTED_BEFORE_US
        since = low * (at_us - self.since_us) + swing * self._integral(gpu, at_us) // PPM
        return (before + since) // MICROSECONDS

    def power_milliwatts(self, gpu: int, at_us: int) -> int:
        """Return the power of a GPU."""
        low, swing = self._range_milliwatts[gpu]
        return low + swing * self.load_ppm(gpu, at_us) // PPM

    def load_ppm(self, gpu: int, at_us: int) -> int:
        """Return the load of the replica on a GPU, 0 where there is none."""
        replica = self._replica_of.get(gpu)
        return replica.load.ppm(at_us) if replica is not None else 0

    def replica_on(self, gpu: int) -> Replica | None:
        """Return what holds a GPU."""
        return self._replica_of.get(gpu)

    def tokens(self, replica: Replica, at_us: int) -> tuple[int, int]:
        """Return the input and output tokens that a replica's server has counted since it began."""
        load_us = replica.load.integral_ppm_us(at_us)
        deployment = replica.deployment
        before = int(fraction(f"{self._key}/{replica.name}") * _SERVING_BEFORE_US)
        seconds_ppm = load_us + before * PPM // 2
        return (
            deployment.input_tokens_per_second * seconds_ppm // (PPM * MICROSECONDS),
            deployment.output_tokens_per_second * seconds_ppm // (PPM * MICROSECONDS),
        )

    def placements(self, observed_at_us: int) -> list[Placement]:
        """Return what holds each GPU; one without a replica was looked at and is empty."""
        return [self._placement(index, observed_at_us) for index in range(self.scenario.gpu_count)]

    def _placement(self, index: int, observed_at_us: int) -> Placement:
        replica = self._replica_of.get(index)
        server = replica.server if replica is not None else None
        return Placement(
            observed_at_us=observed_at_us,
            gpu_uuid=self.gpu_uuids[index],
            mig_uuid=None,
            deployment=server.deployment if server is not None else None,
            replica=server.replica if server is not None else None,
            role=server.role if server is not None else None,
            model_served=server.model_served if server is not None else None,
            labels=server.labels if server is not None else {},
            process_started_at_us=server.process_started_at_us if server is not None else None,
            share=1.0,
            basis="process" if server is not None else "empty",
        )

    def _replicas(self) -> list[Replica]:
        found: list[Replica] = []
        for deployment in self.scenario.deployments:
            for gpus in deployment.replicas:
                number = len(found)
                name = f"{self.name}:{_FIRST_PORT + number}"
                found.append(
                    Replica(
                        deployment=deployment,
                        name=name,
                        gpus=gpus,
                        pid=_FIRST_PID + 1000 * (number + 1),
                        load=LoadCurve(f"{self._key}/{name}", since_us=self.since_us),
                        server=self._server(deployment, name, _FIRST_PORT + number, len(gpus)),
                    )
                )
        return found

    def _server(self, deployment: Deployment, name: str, port: int, gpu_count: int) -> Server:
        address = f"http://127.0.0.1:{port}"
        started_at_us = self.since_us - _SERVING_BEFORE_US + port * MICROSECONDS
        return Server(
            server_id=f"{address}#{started_at_us}",
            deployment=deployment.name,
            replica=name,
            role="aggregated",
            role_basis="simulated",
            vantage="engine",
            engine=ENGINE,
            engine_version=ENGINE_VERSION,
            model_served=deployment.model,
            model_root=deployment.root,
            precision="fp8",
            precision_basis="simulated",
            tensor_parallel=gpu_count,
            pipeline_parallel=1,
            data_parallel=1,
            expert_parallel=None,
            expected_gpu_count=gpu_count,
            speculative=None,
            input_includes_cached=True,
            counts_at="step",
            address=address,
            labels={"team": "inference"},
            process_started_at_us=started_at_us,
        )

    def _device(self, index: int) -> Device:
        gpu = self.scenario.gpu
        return Device(
            gpu_uuid=self.gpu_uuids[index],
            name=gpu.name,
            architecture=gpu.architecture,
            compute_capability=gpu.compute_capability,
            pci_device_id=gpu.pci_device_id,
            pci_subsystem_id=gpu.pci_subsystem_id,
            memory_total_bytes=gpu.memory_total_bytes,
            power_limit_milliwatts=gpu.power_limit_milliwatts,
            mig_enabled=False,
            state="ok",
            energy_scope="gpu",
        )

    def _power_range(self, index: int) -> tuple[int, int]:
        """Return a GPU's power at no load and what full load adds; boards of one kind differ by a few percent."""
        gpu = self.scenario.gpu
        factor = 0.97 + 0.06 * fraction(f"{self._key}/{index}")
        if index not in self._replica_of:
            return round(gpu.idle_milliwatts * factor), 0
        return round(gpu.ready_milliwatts * factor), round((gpu.full_milliwatts - gpu.ready_milliwatts) * factor)

    def _integral(self, gpu: int, at_us: int) -> int:
        replica = self._replica_of.get(gpu)
        return replica.load.integral_ppm_us(at_us) if replica is not None else 0
