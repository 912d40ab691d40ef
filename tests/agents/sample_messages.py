"""Two small messages, one of each kind, for tests that need any."""

from typing import Any

from tests.agents.gpu.readers import device
from tokenmill_agent.records import (
    SCHEMA_VERSION,
    GpuPowerMessage,
    GpuSamples,
    Identity,
    Placement,
    Series,
    Server,
    TokenCountersMessage,
    TokenSamples,
)


def head(kind: str) -> dict[str, Any]:
    """Return what both kinds begin with."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "node": "n1",
        "run_id": "run",
        "sequence": 0,
        "previous_run_id": None,
        "previous_last_sequence": None,
        "boot_id": "boot",
        "sent_at_us": 20,
        "clock": "system",
        "agent_version": "1",
        "driver_version": "580.1",
        "nvml_generation": 0,
        "simulated": False,
        "gpu_count_expected": 1,
        "identity": Identity(provider="ExampleCloud"),
    }


def gpu_message() -> GpuPowerMessage:
    """Return one row of one GPU."""
    samples = GpuSamples(device=[0], sampled_at_us=[10], monotonic_us=[1], energy_counter_millijoules=[5])
    for name in GpuSamples.__slots__:
        if not getattr(samples, name):
            getattr(samples, name).append(None)
    return GpuPowerMessage(**head("gpu-power"), devices=[device("GPU-a")], placements=[placement()], samples=samples)


def placement(replica: str | None = "r1", *, observed_at_us: int = 10, gpu_uuid: str = "GPU-a") -> Placement:
    """Return one sighting."""
    return Placement(
        observed_at_us=observed_at_us,
        gpu_uuid=gpu_uuid,
        mig_uuid=None,
        deployment="llama" if replica is not None else None,
        replica=replica,
        role="aggregated" if replica is not None else None,
        model_served="llama" if replica is not None else None,
        labels={"team": "a"},
        process_started_at_us=None,
        share=1.0,
        basis="process" if replica is not None else "empty",
    )


def server(server_id: str = "http://127.0.0.1:8000#1") -> Server:
    """Return one server."""
    return Server(
        server_id=server_id,
        deployment="llama",
        replica="r1",
        role="aggregated",
        role_basis="default",
        vantage="engine",
        engine="vllm",
        engine_version="0.33.0",
        model_served="llama",
        model_root=None,
        precision=None,
        precision_basis=None,
        tensor_parallel=None,
        pipeline_parallel=None,
        data_parallel=None,
        expert_parallel=None,
        expected_gpu_count=1,
        speculative=None,
        input_includes_cached=True,
        counts_at="step",
        address="http://127.0.0.1:8000",
        labels={},
        process_started_at_us=1,
    )


def token_samples(*input_tokens: int | None) -> TokenSamples:
    """Return rows of series 0, a second apart."""
    samples = TokenSamples()
    for number, tokens in enumerate(input_tokens):
        for name in TokenSamples.__slots__:
            getattr(samples, name).append(None)
        samples.series[-1] = 0
        samples.sampled_at_us[-1] = samples.monotonic_us[-1] = 1_000_000 * (number + 1)
        samples.input_tokens[-1] = tokens
        samples.reason[-1] = "scrape_failed" if tokens is None else None
    return samples


def token_message() -> TokenCountersMessage:
    """Return one row of one series."""
    return TokenCountersMessage(
        **head("token-counters"), servers=[server()], series=[Series(server=0, rank=0)], samples=token_samples(7)
    )
