"""Ingests both topics from Kafka, exactly once: what a slice holds and how far it was read commit in one rename."""

import concurrent.futures
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.kafka_reader import Reader
from tokenmill_pipeline.lander import IngestReport, OnProgress
from tokenmill_pipeline.seal import MaintenanceReport, maintain


def ingest_once(
    landing_dir: Path,
    kafka: KafkaSettings,
    settings: IngestSettings,
    *,
    on_progress: OnProgress = lambda _report: None,
) -> IngestReport:
    """Land what the topics hold at this moment, merge and seal what is due, and return.

    Raises:
        UsageError: partitions that do not exist.
        TokenmillError: no broker, no topic, no right, offsets that the broker no longer has, a full disk, another
            process that reads the same partitions, or a broker that falls silent on the way.
    """
    with Reader(landing_dir, kafka, settings) as reader:
        ends = reader.ends()
        silent_since = time.monotonic()
        while not reader.reached(ends):
            if reader.read():
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > settings.stall_seconds:
                reader.cut()
                raise TokenmillError(
                    f"the broker at {', '.join(kafka.bootstrap_servers)} gave nothing for {settings.stall_seconds:g} s "
                    f"though {reader.lag()} messages wait: what came before has landed, run it again when it answers"
                )
            on_progress(reader.report())
        reader.cut()
        report = reader.report()
    maintain(landing_dir, settings)
    return report


def ingest_follow(
    landing_dir: Path,
    kafka: KafkaSettings,
    settings: IngestSettings,
    stop: threading.Event,
    *,
    on_progress: OnProgress = lambda _report: None,
) -> IngestReport:
    """Land what comes until `stop` is set, merging and sealing beside; a broker that is away later is waited for.

    Raises:
        UsageError: partitions that do not exist.
        TokenmillError: as `ingest_once`; what landed before stays, and a restart goes on from there.
    """
    with Reader(landing_dir, kafka, settings) as reader, _Housekeeping(landing_dir, settings) as housekeeping:
        while not stop.is_set():
            reader.read()
            reader.adopt_new_partitions()
            on_progress(reader.report(housekeeping.look()))
        reader.cut()
        return reader.report(housekeeping.look())


class _Housekeeping:
    """Merges and seals in a thread beside ingest, one run at a time; what fails is tried again and told."""

    def __init__(self, landing_dir: Path, settings: IngestSettings) -> None:
        self._landing_dir = landing_dir
        self._settings = settings
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "maintenance")
        self._running: concurrent.futures.Future[MaintenanceReport | None] | None = None
        self._problem: str | None = None
        self._due = time.monotonic() + settings.maintenance_interval_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def look(self) -> str | None:
        """Start the next run when it is due; return why the last one failed, None if it did not."""
        if self._running is not None and self._running.done():
            self._problem = None
            try:
                self._running.result()
            except TokenmillError as error:
                self._problem = str(error)
            self._running = None
            self._due = time.monotonic() + self._settings.maintenance_interval_seconds
        if self._running is None and time.monotonic() >= self._due:
            self._running = self._thread.submit(maintain, self._landing_dir, self._settings)
        return self._problem
