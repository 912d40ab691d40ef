"""A fleet written down by hand: samples that a test states, landed by the real decoder and built by the real SQL.

node = ScriptedNode("n1", gpus=2)
node.gpu_rows([(0, at, counter), ...]); node.token_rows("s1", [(at, input, output), ...])
warehouse = ScriptedWarehouse(tmp_path); warehouse.land(node.messages()); warehouse.measure(now)
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from tokenmill_agent import records
from tokenmill_pipeline import dirty, landing, landing_write, measuring, warehouse
from tokenmill_pipeline.batch import Batch
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.decode import RawMessage
from tokenmill_pipeline.ingest_settings import Limits

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
START = datetime(2026, 3, 1, 10)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
START_US = int(START.replace(tzinfo=UTC).timestamp()) * SECOND_US


def at(seconds: float) -> int:
    """Return the wall time that lies so many seconds after 10:00 of the script's day, in microseconds."""
    return START_US + round(seconds * SECOND_US)


@dataclasses.dataclass(slots=True, kw_only=True)
class ScriptedNode:
    """One node: its identity, its clock (wall minus boot) and the messages that the test has written so far."""

    name: str = "n1"
    gpu_count: int = 1
    provider: str | None = "acme"
    account: str | None = "acct"
    cluster: str | None = "c1"
    boot_id: str = "boot-1"
    run_id: str = "run-1"
    driver_version: str = "580.1"
    nvml_generation: int = 1
    gpu_name: str = "NVIDIA H200"
    power_limit_milliwatts: int = 700_000
    energy_scope: str = "gpu"
    boot_at_us: int = START_US - 24 * HOUR_US
    sequences: dict[str, int] = dataclasses.field(default_factory=dict)
    sent: list[RawMessage] = dataclasses.field(default_factory=list)

    def uuid(self, gpu: int) -> str:
        """Return the UUID of the node's GPU with that index."""
        return f"GPU-{self.name}-{gpu}"

    def head(self, kind: str, sent_at_us: int) -> dict[str, Any]:
        """Return the head of the node's next message of a kind."""
        sequence = self.sequences.get(f"{self.run_id}/{kind}", -1) + 1
        self.sequences[f"{self.run_id}/{kind}"] = sequence
        return {
            "schema_version": records.SCHEMA_VERSION,
            "kind": kind,
            "node": self.name,
            "run_id": self.run_id,
            "sequence": sequence,
            "previous_run_id": None,
            "previous_last_sequence": None,
            "boot_id": self.boot_id,
            "sent_at_us": sent_at_us,
            "clock": "system",
            "agent_version": "1",
            "driver_version": self.driver_version,
            "nvml_generation": self.nvml_generation,
            "simulated": False,
            "gpu_count_expected": self.gpu_count,
            "identity": records.Identity(provider=self.provider, account=self.account, cluster=self.cluster),
        }

    def gpu_rows(
        self,
        rows: Sequence[dict[str, Any]],
        *,
        placements: Sequence[records.Placement] = (),
        clock_error_us: int = 0,
        delivery: str = "live",
        sent_at_us: int | None = None,
    ) -> None:
        """Send GPU rows as one message: `gpu`, `at_us` (true time) and any column of `records.GpuSamples`.

        The node's own clock is wrong by `clock_error_us`; its monotonic one is not. The broker appends in true time.
        """
        true_sent_us = sent_at_us if sent_at_us is not None else max((row["at_us"] for row in rows), default=at(0))
        columns: dict[str, list[Any]] = {field.name: [] for field in dataclasses.fields(records.GpuSamples)}
        for row in rows:
            for name, column in columns.items():
                column.append(row.get(name))
            columns["device"][-1] = row.get("gpu", 0)
            columns["sampled_at_us"][-1] = row["at_us"] + clock_error_us
            columns["monotonic_us"][-1] = row["at_us"] - self.boot_at_us
        message = records.GpuPowerMessage(
            **self.head("gpu-power", true_sent_us + clock_error_us),
            devices=[self.device(gpu) for gpu in range(self.gpu_count)],
            placements=[
                dataclasses.replace(placement, observed_at_us=placement.observed_at_us + clock_error_us)
                for placement in placements
            ],
            samples=records.GpuSamples(**columns),
        )
        self._send(message, records.GPU_POWER_TOPIC, true_sent_us, delivery)

    def host_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Send host readings: `at_us` and any column of `records.HostSamples`, of a BMC's input by default."""
        base = {"scope": "node_input", "source": "redfish", "id": "input"}
        columns: dict[str, list[Any]] = {field.name: [] for field in dataclasses.fields(records.HostSamples)}
        for row in rows:
            clocks = {"sampled_at_us": row["at_us"], "monotonic_us": row["at_us"] - self.boot_at_us}
            for name, column in columns.items():
                column.append((base | row | clocks).get(name))
        sent_at_us = max(row["at_us"] for row in rows)
        message = records.GpuPowerMessage(
            **self.head("gpu-power", sent_at_us),
            devices=[self.device(gpu) for gpu in range(self.gpu_count)],
            placements=[],
            samples=records.GpuSamples(),
            host_samples=records.HostSamples(**columns),
        )
        self._send(message, records.GPU_POWER_TOPIC, sent_at_us, "live")

    def token_rows(
        self,
        servers: Sequence[records.Server],
        rows: Sequence[dict[str, Any]],
        *,
        clock_error_us: int = 0,
        delivery: str = "live",
    ) -> None:
        """Send counter rows as one message: `server` (an index), `at_us` and any column of `records.TokenSamples`."""
        true_sent_us = max((row["at_us"] for row in rows), default=at(0))
        columns: dict[str, list[Any]] = {field.name: [] for field in dataclasses.fields(records.TokenSamples)}
        for row in rows:
            for name, column in columns.items():
                column.append(row.get(name))
            columns["series"][-1] = row.get("server", 0)
            columns["sampled_at_us"][-1] = row["at_us"] + clock_error_us
            columns["monotonic_us"][-1] = row["at_us"] - self.boot_at_us
        message = records.TokenCountersMessage(
            **self.head("token-counters", true_sent_us + clock_error_us),
            servers=list(servers),
            series=[records.Series(server=index, rank=0) for index in range(len(servers))],
            samples=records.TokenSamples(**columns),
        )
        self._send(message, records.TOKEN_COUNTERS_TOPIC, true_sent_us, delivery)

    def device(self, gpu: int) -> records.Device:
        """Return how NVML describes one of the node's GPUs."""
        return records.Device(
            gpu_uuid=self.uuid(gpu),
            name=self.gpu_name,
            architecture=9,
            compute_capability="9.0",
            pci_device_id="2335",
            pci_subsystem_id=None,
            memory_total_bytes=141 << 30,
            power_limit_milliwatts=self.power_limit_milliwatts,
            mig_enabled=False,
            state="ok",
            energy_scope="module" if self.energy_scope == "module" else "gpu",
        )

    def placement(self, gpu: int, observed_at_us: int, deployment: str | None, **more: Any) -> records.Placement:
        """Return one sighting: a GPU held by the replica `r1` of a deployment, or empty where that is None."""
        values: dict[str, Any] = {
            "observed_at_us": observed_at_us,
            "gpu_uuid": self.uuid(gpu),
            "mig_uuid": None,
            "deployment": deployment,
            "replica": "r1" if deployment else None,
            "role": "aggregated" if deployment else None,
            "model_served": None,
            "labels": {},
            "process_started_at_us": None,
            "share": 1.0,
            "basis": "process" if deployment else "empty",
        }
        return records.Placement(**(values | more))

    def _send(self, message: Any, topic: str, sent_at_us: int, delivery: str) -> None:
        self.sent.append(
            RawMessage(
                value=msgspec.json.encode(message),
                topic=topic,
                partition=0,
                offset=len(self.sent),
                appended_at_us=sent_at_us,
                delivery=delivery,
            )
        )


def server(deployment: str = "d1", started_at_us: int | None = None, **more: Any) -> records.Server:
    """Return one life of a vLLM server that serves `d1`/`r1` on one GPU."""
    values: dict[str, Any] = {
        "server_id": f"10.0.0.1:8000@{started_at_us}",
        "deployment": deployment,
        "replica": "r1",
        "role": "aggregated",
        "role_basis": "configuration",
        "vantage": "engine",
        "engine": "vllm",
        "engine_version": "0.32.0",
        "model_served": "llama",
        "model_root": None,
        "precision": "fp8",
        "precision_basis": "configuration",
        "tensor_parallel": 1,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "expert_parallel": None,
        "expected_gpu_count": 1,
        "speculative": None,
        "input_includes_cached": True,
        "counts_at": "step",
        "address": "10.0.0.1:8000",
        "labels": {},
        "process_started_at_us": started_at_us,
    }
    return records.Server(**(values | more))


@dataclasses.dataclass(slots=True)
class ScriptedWarehouse:
    """A data directory that messages are landed in and hours are built in, up to attribution."""

    root: Path
    build: BuildSettings = dataclasses.field(default_factory=BuildSettings)
    fleet: FleetSettings = dataclasses.field(default_factory=FleetSettings)

    @property
    def settings(self) -> PipelineSettings:
        """Return the settings of the data directory."""
        return PipelineSettings(data_dir=self.root, memory_limit_megabytes=1024)

    def land(self, messages: Sequence[RawMessage]) -> None:
        """Land messages as one slice; none of them may be refused."""
        batch = Batch(Limits())
        for message in messages:
            batch.add(message)
        frames = batch.take()
        assert frames["rejected_messages"].is_empty(), frames["rejected_messages"]
        landing_write.write_slice(self.settings.landing_dir, frames, [], source="test")

    @contextmanager
    def measured(self, seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """Build without money at so many seconds after the script's start, and yield the warehouse."""
        with warehouse.writer_lock(self.settings), warehouse.open_warehouse(self.settings) as connection:
            with landing.reading(self.settings.landing_dir) as manifests:
                measuring.set_constants(connection, self.build, self.fleet)
                run = measuring.Measuring(
                    connection=connection,
                    manifests=manifests,
                    settings=self.build,
                    now=datetime.fromtimestamp(at(seconds) / 1e6, UTC).replace(tzinfo=None),
                    progress=lambda _step, _done, _total: None,
                )
                measuring.take_in(run)
                measuring.measure(run)
                dirty.clear(connection, measuring.attribute(run), measuring.ATTRIBUTE_CAUSES)
            yield connection


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query as dictionaries."""
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
