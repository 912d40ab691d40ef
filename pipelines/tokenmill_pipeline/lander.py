"""Cuts slices: collects what a source reads and lands it, rows and offsets together, when a bound is reached."""

import collections
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from tokenmill_pipeline.batch import Batch
from tokenmill_pipeline.decode import RawMessage
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.landing import HOUR_US, SAMPLE_TABLES, OffsetRange, readers_lock, retired_hours
from tokenmill_pipeline.landing_write import now_us, write_slice
from tokenmill_pipeline.locks import hold


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Messages that the broker deleted or lost before they were read, which `accept_gaps` let pass."""

    topic: str
    partition: int
    stored_offset: int
    continued_at: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What ingest has landed so far.

    `rows` are samples; `rejected` counts the entries of rejected_messages by reason. `lag_messages` is how many
    messages wait at the broker, None where that is not known. `maintenance_problem` is why merging and sealing, which
    go on beside, failed the last time.
    """

    messages: int = 0
    rows: int = 0
    payload_bytes: int = 0
    slices: int = 0
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    lag_messages: int | None = None
    gaps: tuple[Gap, ...] = ()
    maintenance_problem: str | None = None

    @property
    def rows_per_second(self) -> float:
        """Return samples landed per second since the start."""
        return self.rows / self.seconds if self.seconds else 0.0


OnProgress = Callable[[IngestReport], None]


class Lander:
    """The rows between two slices; the one who calls it holds the locks of the partitions that it reads."""

    def __init__(self, landing_dir: Path, settings: IngestSettings, *, source: str | None) -> None:
        """Collect for slices from `source`."""
        self._landing_dir = landing_dir
        self._settings = settings
        self._source = source
        self._after_us = 0
        self._batch = Batch(settings.limits)
        self._gap_partitions: set[tuple[str, int]] = set()
        self._rejected: collections.Counter[str] = collections.Counter()
        self._report = IngestReport()
        self._started = self._cut_at = time.monotonic()

    def after(self, landed_at_us: int) -> None:
        """Let every further slice count as landed after that time, whatever the clock says."""
        self._after_us = max(self._after_us, landed_at_us)

    def add(self, raw: RawMessage) -> None:
        """Decode and keep a message."""
        self._batch.add(raw)

    def note_gap(self, gap: Gap) -> None:
        """Keep in the landing, too, that messages were lost before they could be read."""
        lost = RawMessage(
            value=None,
            topic=gap.topic,
            partition=gap.partition,
            offset=gap.stored_offset,
            appended_at_us=now_us(),
            delivery=None,
        )
        self._batch.refuse(lost, "lost_before_read", f"{gap.reason}; went on at offset {gap.continued_at}")
        self._gap_partitions.add((gap.topic, gap.partition))
        self._report = dataclasses.replace(self._report, gaps=(*self._report.gaps, gap))

    @property
    def full(self) -> bool:
        """Return whether a slice has to be cut for its size."""
        batch, settings = self._batch, self._settings
        return (
            batch.message_count >= settings.slice_messages
            or batch.row_count >= settings.slice_rows
            or batch.byte_count >= settings.slice_bytes
        )

    @property
    def due(self) -> bool:
        """Return whether a slice has to be cut for its size or its age."""
        return self.full or time.monotonic() - self._cut_at >= self._settings.slice_seconds

    def cut(self, offsets: Sequence[OffsetRange]) -> None:
        """Land what was collected and that it was read up to `offsets`; without an offset that moved, do nothing.

        Raises:
            TokenmillError: it cannot be written; nothing has landed then.
        """
        self._cut_at = time.monotonic()
        moved = [
            read
            for read in offsets
            if read.next_offset != read.first_offset or (read.topic, read.partition) in self._gap_partitions
        ]
        if not moved:
            return
        messages, payload_bytes = self._batch.message_count, self._batch.byte_count
        # From looking at the deleted hours to the rename, retention has to wait.
        with hold(readers_lock(self._landing_dir), shared=True):
            frames = self._batch.take(retired_hours(self._landing_dir))
            manifest = write_slice(
                self._landing_dir,
                frames,
                moved,
                source=self._source,
                late_before_us=now_us() - self._settings.late_window_hours * HOUR_US,
                after_us=self._after_us,
            )
        self._after_us = manifest.created_at_us
        self._gap_partitions.clear()
        self._count(frames, messages, payload_bytes)

    def _count(self, frames: dict[str, pl.DataFrame], messages: int, payload_bytes: int) -> None:
        self._rejected.update(frames["rejected_messages"]["reason"].to_list())
        self._report = dataclasses.replace(
            self._report,
            messages=self._report.messages + messages,
            rows=self._report.rows + sum(frames[table].height for table in SAMPLE_TABLES),
            payload_bytes=self._report.payload_bytes + payload_bytes,
            slices=self._report.slices + 1,
            rejected=dict(self._rejected),
        )

    def report(self, *, lag_messages: int | None = None, maintenance_problem: str | None = None) -> IngestReport:
        """Return what has landed so far."""
        return dataclasses.replace(
            self._report,
            seconds=time.monotonic() - self._started,
            lag_messages=lag_messages,
            maintenance_problem=maintenance_problem,
        )
