"""Builds the messages of one node: the head that names sender and order, and the rows as they were collected."""

import functools
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.sampler import GpuBatch
from tokenmill_agent.records import (
    SCHEMA_VERSION,
    GpuPowerMessage,
    HostSamples,
    Identity,
    Placement,
    TokenCountersMessage,
)
from tokenmill_agent.servers.scrape import TokenLook
from tokenmill_agent.state import Kind, RunState


class Messenger:
    """Numbers and heads the messages of one run on one node."""

    def __init__(self, *, node: str, identity: Identity, clock: Clock, run: RunState, simulated: bool) -> None:
        """Make no message yet."""
        self.node = node
        self._identity = identity
        self._clock = clock
        self._run = run
        self._simulated = simulated
        self._driver_version: str | None = None
        self._nvml_generation = 0
        self._gpu_count_expected: int | None = None

    def know_gpus(self, *, driver_version: str | None, nvml_generation: int, gpu_count_expected: int | None) -> None:
        """Take what the heads of all later messages say of the GPUs."""
        self._driver_version = driver_version
        self._nvml_generation = nvml_generation
        self._gpu_count_expected = gpu_count_expected

    def know_identity(self, identity: Identity) -> None:
        """Take where the node stands, for the heads of all later messages."""
        self._identity = identity

    def gpu_power(
        self, batch: GpuBatch, placements: Sequence[Placement], host_samples: HostSamples | None = None
    ) -> GpuPowerMessage:
        """Return the message of rows of GPUs and of the rest of the node; it says what held when GPUs were read."""
        head = self._head("gpu-power")
        head.update(driver_version=batch.driver_version, nvml_generation=batch.nvml_generation)
        return GpuPowerMessage(
            **head,
            devices=batch.devices,
            placements=list(placements),
            samples=batch.samples,
            host_samples=host_samples or HostSamples(),
        )

    def host_power(self, placements: Sequence[Placement], host_samples: HostSamples) -> GpuPowerMessage:
        """Return a message of rows of the rest of the node alone."""
        batch = GpuBatch(driver_version=self._driver_version, nvml_generation=self._nvml_generation)
        return self.gpu_power(batch, placements, host_samples)

    def token_counters(self, look: TokenLook) -> TokenCountersMessage:
        """Return the message of rows of token counters."""
        return TokenCountersMessage(
            **self._head("token-counters"), servers=look.servers, series=look.series, samples=look.samples
        )

    def _head(self, kind: Kind) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "node": self.node,
            "run_id": self._run.run_id,
            "sequence": self._run.next_sequence(kind),
            "previous_run_id": self._run.previous_run_id,
            "previous_last_sequence": self._run.previous_last_sequence(kind),
            "boot_id": self._clock.boot_id(),
            "sent_at_us": self._clock.now_us(),
            "clock": self._clock.kind,
            "agent_version": agent_version(),
            "driver_version": self._driver_version,
            "nvml_generation": self._nvml_generation,
            "simulated": self._simulated,
            "gpu_count_expected": self._gpu_count_expected,
            "identity": self._identity,
        }


@functools.cache
def agent_version() -> str:
    """Return the installed version, `unknown` where the package runs without being installed."""
    try:
        return importlib.metadata.version("tokenmill")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
