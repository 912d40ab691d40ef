"""The settings of the pipeline host: where its data lies and how an hour is built."""

import dataclasses
from pathlib import Path

from tokenmill_agent.settings import section


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """`[pipeline]`: the data directory and what one machine may use.

    The directory holds `landing/`, `warehouse.duckdb`, `analytics.duckdb` and `warehouse.lock`.
    """

    data_dir: Path = Path(".tokenmill")
    memory_limit_megabytes: int = 4096
    threads: int = 2
    lock_wait_seconds: float = 60.0

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
    reporting_currency: str = "USD"
    close_after_days: int = 10
    hours_per_batch: int = 24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One `[[fleet.overrides]]`: a field of a node's identity that the configuration knows better."""

    node: str
    field: str
    value: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """`[fleet]`: what is known about nodes beside what they say."""

    require_confirmation: bool = False
    overrides: tuple[Override, ...] = ()


__all__ = ["BuildSettings", "FleetSettings", "Override", "PipelineSettings", "section"]
