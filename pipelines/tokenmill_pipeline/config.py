"""The settings of the pipeline host: where its data lies and how an hour is built."""

import dataclasses
import re
from pathlib import Path
from typing import Final

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import nearest

OVERRIDABLE: Final = (
    "provider", "account", "region", "zone", "cluster", "rack", "instance_type", "instance_id", "provider_id",
    "gpu_count",
)  # fmt: skip
"""The fields of a node's identity that the configuration may state."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """`[pipeline]`: the data directory and what one machine may use.

    The directory holds `landing/`, `warehouse.duckdb`, `analytics.duckdb` and `warehouse.lock`.
    """

    data_dir: Path = Path(".tokenmill")
    memory_limit_megabytes: int = 4096
    threads: int = 2
    lock_wait_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        _at_least("pipeline", 1, threads=self.threads, memory_limit_megabytes=self.memory_limit_megabytes)
        _at_least("pipeline", 0, lock_wait_seconds=self.lock_wait_seconds)

    @property
    def landing_dir(self) -> Path:
        """Return the directory that ingest alone writes."""
        return self.data_dir / "landing"

    @property
    def warehouse_path(self) -> Path:
        """Return the file that build and billing load write, under the lock."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def published_path(self) -> Path:
        """Return the file that analysts read."""
        return self.data_dir / "analytics.duckdb"

    @property
    def lock_path(self) -> Path:
        """Return the file whose lock makes one process the writer."""
        return self.data_dir / "warehouse.lock"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """`[build]`: when an hour is built, and the tolerances that its figures are held to.

    A slot of five minutes counts as known for a unit where at most `slot_tolerance_seconds` of it are not, because
    samples stand ten seconds apart and do not fall on the slot's edges.
    """

    grace_seconds: int = 300
    slot_tolerance_seconds: int = 30
    clock_offset_tolerance_seconds: float = 5.0
    tokens_per_second_per_gpu_max: int = 1_000_000
    power_limit_factor: float = 1.2
    energy_cross_check_share: float = 0.05
    vantage_cross_check_share: float = 0.05
    reporting_currency: str = "USD"
    close_after_days: int = 10
    hours_per_batch: int = 24

    def __post_init__(self) -> None:
        """Refuse what cannot be right: a currency that is none would leave every figure without one."""
        if re.fullmatch("[A-Z]{3}", self.reporting_currency) is None:
            raise UsageError(f"[build] reporting_currency: {self.reporting_currency!r} is no ISO 4217 code such as USD")
        _at_least("build", 1, hours_per_batch=self.hours_per_batch, power_limit_factor=self.power_limit_factor)
        _at_least(
            "build",
            0,
            grace_seconds=self.grace_seconds,
            slot_tolerance_seconds=self.slot_tolerance_seconds,
            clock_offset_tolerance_seconds=self.clock_offset_tolerance_seconds,
            tokens_per_second_per_gpu_max=self.tokens_per_second_per_gpu_max,
            energy_cross_check_share=self.energy_cross_check_share,
            vantage_cross_check_share=self.vantage_cross_check_share,
            close_after_days=self.close_after_days,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One `[[fleet.overrides]]`: a field of a node's identity that the configuration knows better."""

    node: str
    field: str
    value: str

    def __post_init__(self) -> None:
        """Refuse a field that no node has, and a GPU count that is no number."""
        if self.field not in OVERRIDABLE:
            raise UsageError(f'[[fleet.overrides]] field: unknown "{self.field}"{nearest(self.field, OVERRIDABLE)}')
        if self.field == "gpu_count" and not self.value.isdigit():
            raise UsageError(f'[[fleet.overrides]] value: gpu_count of {self.node} is a number, not "{self.value}"')


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """`[fleet]`: what is known about nodes beside what they say."""

    require_confirmation: bool = False
    overrides: tuple[Override, ...] = ()


def _at_least(table: str, least: float, **values: float) -> None:
    for name, value in values.items():
        if value < least:
            raise UsageError(f"[{table}] {name}: expected {least:g} or more, got {value:g}")
