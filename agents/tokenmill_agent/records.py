"""The wire: what one node says about its GPUs and its inference servers, as columnar JSON.

The agent owns this schema; the pipeline decodes into the same classes. Counters are cumulative and exactly as the
source gave them; a missing value is None with a reason beside it, never 0. Every list in a `*Samples` class has the
same length: one entry per sample. Times that end in `_us` are microseconds since 1970 in UTC, except `monotonic_us`,
which counts from the boot of the node (CLOCK_BOOTTIME).
"""

from dataclasses import dataclass, field
from typing import Final, Literal

SCHEMA_VERSION: Final = 1
"""Rises when the meaning of a field changes; a reader refuses a version that it does not know."""

GPU_POWER_TOPIC: Final = "tokenmill.gpu-power"
TOKEN_COUNTERS_TOPIC: Final = "tokenmill.token-counters"  # noqa: S105 - a topic, not a secret
DELIVERY_HEADER: Final = "delivery"
"""Name of the record header that says how a message was sent: live, spooled or replayed."""

Clock = Literal["system", "driven"]
Role = Literal["aggregated", "prefill", "decode", "unknown"]
Vantage = Literal["engine", "frontend", "router"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Where a node stands, as its cloud or its owner names it; None where nobody said."""

    provider: str | None = None
    account: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    instance_id: str | None = None
    provider_id: str | None = None
    cluster: str | None = None
    rack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every message says of its sender. `(node, run_id, sequence)` is the identity of a message.

    `sequence` counts from 0 within a run and kind. `nvml_generation` rises when the agent initialises NVML anew.
    """

    schema_version: int
    kind: Literal["gpu-power", "token-counters"]
    node: str
    run_id: str
    sequence: int
    previous_run_id: str | None
    previous_last_sequence: int | None
    boot_id: str
    sent_at_us: int
    clock: Clock
    agent_version: str
    driver_version: str | None
    nvml_generation: int
    simulated: bool
    gpu_count_expected: int | None
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU as NVML names it; the generation is looked up later, from data."""

    gpu_uuid: str
    name: str | None
    architecture: int | None
    compute_capability: str | None
    pci_device_id: str | None
    pci_subsystem_id: str | None
    memory_total_bytes: int | None
    power_limit_milliwatts: int | None
    mig_enabled: bool
    state: Literal["ok", "lost", "hung"]
    energy_scope: Literal["gpu", "module"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One sighting of what holds a GPU. A GPU that was looked at and is empty has one row with replica None.

    `basis` says how it is known: static (configuration), process, kubernetes; empty (looked at, nothing there);
    unknown_process (something runs that is no known server: such a GPU is unattributed, never idle).
    `share` is the part of the GPU that the replica holds, 0 to 1; the shares of one GPU sum to 1 at most.
    """

    observed_at_us: int
    gpu_uuid: str
    mig_uuid: str | None
    deployment: str | None
    replica: str | None
    role: Role | None
    model_served: str | None
    labels: dict[str, str]
    process_started_at_us: int | None
    share: float
    basis: Literal["static", "process", "kubernetes", "empty", "unknown_process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSamples:
    """Columns of GPU readings; `device` indexes `GpuPowerMessage.devices`.

    `energy_counter_millijoules` is the driver's own counter; `energy_integrated_millijoules` is the agent's trapezoid
    over its 1 Hz power readings, cumulative in a run, gaps over 3 s left out, and `integrated_us` the seconds that it
    covers, in microseconds. `power_capped_ns` is the driver's counter of throttled time.
    """

    device: list[int] = field(default_factory=list)
    sampled_at_us: list[int] = field(default_factory=list)
    monotonic_us: list[int] = field(default_factory=list)
    energy_counter_millijoules: list[int | None] = field(default_factory=list)
    energy_integrated_millijoules: list[int | None] = field(default_factory=list)
    integrated_us: list[int | None] = field(default_factory=list)
    power_mean_milliwatts: list[int | None] = field(default_factory=list)
    power_max_milliwatts: list[int | None] = field(default_factory=list)
    sm_utilization_percent: list[int | None] = field(default_factory=list)
    memory_used_bytes: list[int | None] = field(default_factory=list)
    sm_clock_mhz: list[int | None] = field(default_factory=list)
    temperature_celsius: list[int | None] = field(default_factory=list)
    power_capped_ns: list[int | None] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSamples:
    """Columns of readings of the rest of the node: a cumulative energy, or a mean power and the time it covers."""

    scope: list[Literal["node_input", "module", "cpu", "rack_input"]] = field(default_factory=list)
    source: list[Literal["redfish", "dcmi", "hwmon", "rapl", "pdu"]] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    sampled_at_us: list[int] = field(default_factory=list)
    monotonic_us: list[int] = field(default_factory=list)
    energy_millijoules: list[int | None] = field(default_factory=list)
    power_mean_milliwatts: list[int | None] = field(default_factory=list)
    covered_us: list[int | None] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPowerMessage(Head):
    """One batch of one node on `tokenmill.gpu-power`."""

    devices: list[Device]
    placements: list[Placement]
    samples: GpuSamples
    host_samples: HostSamples = field(default_factory=HostSamples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One process life of an inference server, as seen from one vantage.

    `server_id` names what serves, not who scrapes: address, port and process start. `input_includes_cached` is False
    where the engine counts only evaluated input (llama.cpp). `counts_at` says when the engine's counters move.
    `expected_gpu_count` is how many GPUs hold one copy of the weights, over all nodes. `address` has no credentials.
    """

    server_id: str
    deployment: str | None
    replica: str | None
    role: Role
    role_basis: str | None
    vantage: Vantage
    engine: str
    engine_version: str | None
    model_served: str | None
    model_root: str | None
    precision: str | None
    precision_basis: str | None
    tensor_parallel: int | None
    pipeline_parallel: int | None
    data_parallel: int | None
    expert_parallel: int | None
    expected_gpu_count: int | None
    speculative: str | None
    input_includes_cached: bool
    counts_at: Literal["step", "finish"]
    address: str
    labels: dict[str, str]
    process_started_at_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One counter series: a server and a data-parallel rank in it. `server` indexes `TokenCountersMessage.servers`."""

    server: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSamples:
    """Columns of counter readings; `series` indexes `TokenCountersMessage.series`. All counters are cumulative.

    A look that succeeded sends a row also where a counter is absent (None, reason `series_absent`), which is not the
    same as a look that failed (`scrape_failed`). `running` and `waiting` are gauges.
    """

    series: list[int] = field(default_factory=list)
    sampled_at_us: list[int] = field(default_factory=list)
    monotonic_us: list[int] = field(default_factory=list)
    input_tokens: list[int | None] = field(default_factory=list)
    cached_input_tokens: list[int | None] = field(default_factory=list)
    output_tokens: list[int | None] = field(default_factory=list)
    requests: list[int | None] = field(default_factory=list)
    draft_tokens: list[int | None] = field(default_factory=list)
    accepted_tokens: list[int | None] = field(default_factory=list)
    ttft_seconds_sum: list[float | None] = field(default_factory=list)
    ttft_count: list[int | None] = field(default_factory=list)
    inter_token_seconds_sum: list[float | None] = field(default_factory=list)
    inter_token_count: list[int | None] = field(default_factory=list)
    prefill_busy_seconds: list[float | None] = field(default_factory=list)
    decode_busy_seconds: list[float | None] = field(default_factory=list)
    running: list[int | None] = field(default_factory=list)
    waiting: list[int | None] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCountersMessage(Head):
    """One batch of one node on `tokenmill.token-counters`."""

    servers: list[Server]
    series: list[Series]
    samples: TokenSamples
