"""Every settings table of one run, read once: configuration file, environment over it, flags over both."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenmill_agent.settings import KafkaSettings, read_file, section
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.ingest_settings import IngestSettings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """`[serve]`: when the deployments run (cron in UTC) and which Prefect server keeps them.

    Without `local_server` the server is the one that PREFECT_API_URL names. `local_server_port` 0 takes a free one.
    """

    build_cron: str = "*/5 * * * *"
    billing_cron: str = "30 6 * * *"
    local_server: bool = False
    local_server_port: int = 4200


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The settings of one run; each table is checked when it is asked for."""

    tables: Mapping[str, Any]
    data_dir: Path | None = None

    @property
    def pipeline(self) -> PipelineSettings:
        """Return `[pipeline]`; raises UsageError."""
        return section(PipelineSettings, "pipeline", self.tables, flags={"data_dir": self.data_dir})

    @property
    def kafka(self) -> KafkaSettings:
        """Return `[kafka]`; raises UsageError."""
        return section(KafkaSettings, "kafka", self.tables)

    @property
    def ingest(self) -> IngestSettings:
        """Return `[ingest]`; raises UsageError."""
        return section(IngestSettings, "ingest", self.tables)

    @property
    def build(self) -> BuildSettings:
        """Return `[build]`; raises UsageError."""
        return section(BuildSettings, "build", self.tables)

    @property
    def fleet(self) -> FleetSettings:
        """Return `[fleet]`; raises UsageError."""
        return section(FleetSettings, "fleet", self.tables)

    @property
    def billing(self) -> BillingSettings:
        """Return `[billing]`; raises UsageError."""
        return section(BillingSettings, "billing", self.tables)

    @property
    def serve(self) -> ServeSettings:
        """Return `[serve]`; raises UsageError."""
        return section(ServeSettings, "serve", self.tables)


def load(config: Path | None = None, data_dir: Path | None = None) -> Context:
    """Read the configuration file, `config` or the usual one.

    Raises:
        UsageError: it cannot be read or holds an unknown table.
    """
    return Context(tables=read_file(config), data_dir=data_dir)
