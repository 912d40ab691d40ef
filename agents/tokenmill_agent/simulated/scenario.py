"""The invented nodes as data: which GPUs, which servers on which of them, how fast, and who sends the bill."""

from dataclasses import dataclass
from typing import Final

from tokenmill_agent.records import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuModel:
    """A GPU. Its power goes from `ready` (weights loaded, nothing to do) to `full`; `idle` is without any process."""

    name: str
    architecture: int
    compute_capability: str
    pci_device_id: str
    pci_subsystem_id: str
    memory_total_bytes: int
    power_limit_milliwatts: int
    idle_milliwatts: int
    ready_milliwatts: int
    full_milliwatts: int
    clock_mhz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Replicas of one model. Rates are of one replica at full load; a tuple of GPU indexes holds one replica."""

    name: str
    model: str
    root: str
    replicas: tuple[tuple[int, ...], ...]
    input_tokens_per_second: int
    output_tokens_per_second: int
    cached_input_share: float
    output_tokens_per_request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A node: so many GPUs of one model, its deployments, and where it stands."""

    node: str
    gpu: GpuModel
    gpu_count: int
    deployments: tuple[Deployment, ...]
    identity: Identity


H200: Final = GpuModel(
    name="NVIDIA H200",
    architecture=9,
    compute_capability="9.0",
    pci_device_id="2335",
    pci_subsystem_id="18be",
    memory_total_bytes=150_754_820_096,
    power_limit_milliwatts=700_000,
    idle_milliwatts=76_000,
    ready_milliwatts=122_000,
    full_milliwatts=640_000,
    clock_mhz=1980,
)

B200: Final = GpuModel(
    name="NVIDIA B200",
    architecture=10,
    compute_capability="10.0",
    pci_device_id="2901",
    pci_subsystem_id="1999",
    memory_total_bytes=192_265_846_784,
    power_limit_milliwatts=1_000_000,
    idle_milliwatts=140_000,
    ready_milliwatts=196_000,
    full_milliwatts=910_000,
    clock_mhz=1965,
)

SCENARIOS: Final = {
    "hopper": Scenario(
        node="hopper-1",
        gpu=H200,
        gpu_count=8,
        deployments=(
            Deployment(
                name="llama-70b",
                model="llama-3.3-70b",
                root="meta-llama/Llama-3.3-70B-Instruct",
                replicas=((0, 1, 2, 3),),
                input_tokens_per_second=9_200,
                output_tokens_per_second=2_900,
                cached_input_share=0.35,
                output_tokens_per_request=310,
            ),
            Deployment(
                name="qwen3-32b",
                model="qwen3-32b",
                root="Qwen/Qwen3-32B",
                replicas=((4, 5),),
                input_tokens_per_second=7_400,
                output_tokens_per_second=2_300,
                cached_input_share=0.25,
                output_tokens_per_request=420,
            ),
        ),
        identity=Identity(
            provider="ExampleCloud",
            account="acct-main",
            region="eu-north-1",
            zone="eu-north-1a",
            instance_type="gpu-h200-8",
            instance_id="i-0hopper1",
            cluster="demo",
        ),
    ),
    "blackwell": Scenario(
        node="blackwell-1",
        gpu=B200,
        gpu_count=8,
        deployments=(
            Deployment(
                name="llama-70b",
                model="llama-3.3-70b",
                root="meta-llama/Llama-3.3-70B-Instruct",
                replicas=((0, 1), (2, 3)),
                input_tokens_per_second=15_600,
                output_tokens_per_second=5_200,
                cached_input_share=0.35,
                output_tokens_per_request=310,
            ),
        ),
        identity=Identity(
            provider="NeoCloud",
            account="tenant-7",
            region="us-west",
            instance_type="b200-8x",
            instance_id="bm-blackwell-1",
            cluster="demo",
        ),
    ),
}
"""One model, llama-3.3-70b, runs on both generations, so that they can be compared."""
