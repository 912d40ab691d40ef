"""Messages of the wire for tests of ingest: small, right in every field, and different in what a test says."""

import dataclasses
from typing import Any, Final

from tokenmill_agent.records import (
    SCHEMA_VERSION,
    Device,
    GpuPowerMessage,
    GpuSamples,
    Identity,
    Placement,
    Series,
    Server,
    TokenCountersMessage,
    TokenSamples,
)
from tokenmill_agent.wire import Message, encode
from tokenmill_pipeline.decode import RawMessage

HOUR_US: Final = 3_600_000_000
START_US: Final = 1_790_000_000_000_000 // HOUR_US * HOUR_US
"""A whole hour in September 2026."""

BOOTED_US: Final = START_US - 1000 * 24 * HOUR_US
"""When every node of the tests was started."""

LIMIT_MILLIWATTS: Final = 700_000


def head(kind: str, node: str, sequence: int, at_us: int) -> dict[str, Any]:
    """Return the fields that both kinds of message have."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "node": node,
        "run_id": f"run-of-{node}",
        "sequence": sequence,
        "previous_run_id": None,
        "previous_last_sequence": None,
        "boot_id": f"boot-of-{node}",
        "sent_at_us": at_us,
        "clock": "system",
        "agent_version": "0.1.0",
        "driver_version": "580.1",
        "nvml_generation": 1,
        "simulated": True,
        "gpu_count_expected": 8,
        "identity": Identity(provider="aws", account="1", region="us-east-1", cluster="c1"),
    }


def device(node: str, index: int, **changes: Any) -> Device:
    """Return one GPU of a node."""
    known = Device(
        gpu_uuid=f"GPU-{node}-{index}",
        name="NVIDIA H100 80GB HBM3",
        architecture=9,
        compute_capability="9.0",
        pci_device_id="0x233010DE",
        pci_subsystem_id="0x16C110DE",
        memory_total_bytes=85_520_809_984,
        power_limit_milliwatts=LIMIT_MILLIWATTS,
        mig_enabled=False,
        state="ok",
        energy_scope="gpu",
    )
    return dataclasses.replace(known, **changes)


def gpu_samples(gpus: int, at_us: int, sequence: int) -> GpuSamples:
    """Return one row of every GPU."""

    def column(value: int) -> list[int | None]:
        return [value] * gpus

    return GpuSamples(
        device=list(range(gpus)),
        sampled_at_us=[at_us] * gpus,
        monotonic_us=[at_us - BOOTED_US] * gpus,
        energy_counter_millijoules=[4_000_000 * sequence + gpu for gpu in range(gpus)],
        energy_integrated_millijoules=column(4_000_000 * sequence),
        integrated_us=column(10_000_000 * sequence),
        power_mean_milliwatts=column(400_000),
        power_max_milliwatts=column(500_000),
        sm_utilization_percent=column(98),
        memory_used_bytes=column(80_000_000_000),
        sm_clock_mhz=column(1_980),
        temperature_celsius=column(60),
        power_capped_ns=column(0),
        reason=[None] * gpus,
    )


def gpu_power(
    node: str = "n1", sequence: int = 0, at_us: int = START_US, gpus: int = 2, **changes: Any
) -> GpuPowerMessage:
    """Return a message with one sample of each GPU of a node, all placed on one replica."""
    devices = [device(node, index) for index in range(gpus)]
    placements = [
        Placement(
            observed_at_us=at_us,
            gpu_uuid=one.gpu_uuid,
            mig_uuid=None,
            deployment="d1",
            replica="r0",
            role="aggregated",
            model_served="llama-3-70b",
            labels={"team": "chat"},
            process_started_at_us=START_US - HOUR_US,
            share=1.0,
            basis="process",
        )
        for one in devices
    ]
    samples = gpu_samples(gpus, at_us, sequence)
    fields = {"devices": devices, "placements": placements, "samples": samples}
    return GpuPowerMessage(**{**head("gpu-power", node, sequence, at_us), **fields, **changes})


def server(node: str) -> Server:
    """Return the inference server of a node."""
    return Server(
        server_id=f"{node}:8000:1",
        deployment="d1",
        replica="r0",
        role="aggregated",
        role_basis="engine",
        vantage="engine",
        engine="vllm",
        engine_version="0.11",
        model_served="llama-3-70b",
        model_root=None,
        precision="bf16",
        precision_basis="flag",
        tensor_parallel=2,
        pipeline_parallel=1,
        data_parallel=1,
        expert_parallel=None,
        expected_gpu_count=2,
        speculative=None,
        input_includes_cached=True,
        counts_at="step",
        address=f"{node}:8000",
        labels={"team": "chat"},
        process_started_at_us=START_US - HOUR_US,
    )


def token_counters(node: str = "n1", sequence: int = 0, at_us: int = START_US, **changes: Any) -> TokenCountersMessage:
    """Return a message with one sample of the one server of a node."""
    samples = TokenSamples(
        series=[0],
        sampled_at_us=[at_us],
        monotonic_us=[at_us - BOOTED_US],
        input_tokens=[1000 * sequence],
        cached_input_tokens=[0],
        output_tokens=[100 * sequence],
        requests=[sequence],
        draft_tokens=[None],
        accepted_tokens=[None],
        ttft_seconds_sum=[0.5 * sequence],
        ttft_count=[sequence],
        inter_token_seconds_sum=[None],
        inter_token_count=[None],
        prefill_busy_seconds=[None],
        decode_busy_seconds=[None],
        running=[1],
        waiting=[0],
        reason=[None],
    )
    fields = {"servers": [server(node)], "series": [Series(server=0, rank=0)], "samples": samples}
    return TokenCountersMessage(**{**head("token-counters", node, sequence, at_us), **fields, **changes})


def raw(message: Message | bytes, offset: int = 0, **changes: Any) -> RawMessage:
    """Return a message as Kafka holds it, appended a second after it was sent."""
    sent_at_us = START_US if isinstance(message, bytes) else message.sent_at_us
    known = RawMessage(
        value=message if isinstance(message, bytes) else encode(message),
        topic="gpu-power",
        partition=0,
        offset=offset,
        appended_at_us=sent_at_us + 1_000_000,
        delivery="live",
    )
    return dataclasses.replace(known, **changes)
