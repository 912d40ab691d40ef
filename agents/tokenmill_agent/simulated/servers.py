"""The invented servers' counters and placements, through the interfaces that real ones are looked at through."""

from collections.abc import Sequence
from typing import Final

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.looker import Processes
from tokenmill_agent.records import Placement, Series, Server, TokenSamples
from tokenmill_agent.servers.scrape import TokenLook
from tokenmill_agent.simulated.load import PPM
from tokenmill_agent.simulated.node import Replica, SimulatedNode

_MAX_RUNNING: Final = 96
_TTFT_SECONDS: Final = 0.31
_INTER_TOKEN_SECONDS: Final = 0.014


class SimulatedWatcher:
    """Looks at the servers of an invented node."""

    def __init__(self, node: SimulatedNode, *, clock: Clock) -> None:
        """Look at nothing yet."""
        self._node = node
        self._clock = clock

    def look(self) -> TokenLook:
        """Return one row for each server: every one answers."""
        now_us, monotonic_us = self._clock.now_us(), self._clock.monotonic_us()
        samples = TokenSamples()
        for index, replica in enumerate(self._node.replicas):
            self._add_row(samples, index, replica, now_us, monotonic_us)
        return TokenLook(
            servers=[replica.server for replica in self._node.replicas],
            series=[Series(server=index, rank=0) for index in range(len(self._node.replicas))],
            samples=samples,
            problems={},
        )

    def _add_row(self, samples: TokenSamples, index: int, replica: Replica, now_us: int, monotonic_us: int) -> None:
        input_tokens, output_tokens = self._node.tokens(replica, now_us)
        deployment = replica.deployment
        requests = output_tokens // deployment.output_tokens_per_request
        samples.series.append(index)
        samples.sampled_at_us.append(now_us)
        samples.monotonic_us.append(monotonic_us)
        samples.input_tokens.append(input_tokens)
        samples.cached_input_tokens.append(int(input_tokens * deployment.cached_input_share))
        samples.output_tokens.append(output_tokens)
        samples.requests.append(requests)
        samples.draft_tokens.append(None)
        samples.accepted_tokens.append(None)
        samples.ttft_seconds_sum.append(round(requests * _TTFT_SECONDS, 3))
        samples.ttft_count.append(requests)
        samples.inter_token_seconds_sum.append(round((output_tokens - requests) * _INTER_TOKEN_SECONDS, 3))
        samples.inter_token_count.append(output_tokens - requests)
        samples.prefill_busy_seconds.append(None)
        samples.decode_busy_seconds.append(None)
        samples.running.append(replica.load.ppm(now_us) * _MAX_RUNNING // PPM)
        samples.waiting.append(0)
        samples.reason.append(None)


class SimulatedPlacer:
    """Says what holds each GPU of an invented node."""

    def __init__(self, node: SimulatedNode) -> None:
        """Take the node."""
        self._node = node

    def place(
        self,
        observed_at_us: int,
        processes: Processes | None,  # noqa: ARG002 - an invented process says nothing that the node does not know
        servers: Sequence[Server],  # noqa: ARG002 - the same
    ) -> list[Placement]:
        """Return one row for each GPU."""
        return self._node.placements(observed_at_us)


def processes_of(node: SimulatedNode) -> dict[str, list[GpuProcess]]:
    """Return the processes on each GPU, by its UUID."""
    found: dict[str, list[GpuProcess]] = {}
    for index, gpu_uuid in enumerate(node.gpu_uuids):
        replica = node.replica_on(index)
        used = node.scenario.gpu.memory_total_bytes * 9 // 10
        found[gpu_uuid] = (
            [GpuProcess(pid=replica.pid + index, used_memory_bytes=used, mig_uuid=None)] if replica is not None else []
        )
    return found
