"""Lands messages in tests and reads back what lies in a landing, by the functions that ingest and build use."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from tests.wire_messages import raw
from tokenmill_agent.wire import Message
from tokenmill_pipeline.batch import Batch
from tokenmill_pipeline.ingest_settings import Limits
from tokenmill_pipeline.landing import OffsetRange, SliceManifest, files_for, reading, stored_heads
from tokenmill_pipeline.landing_write import write_slice


def land(
    landing_dir: Path, messages: Iterable[Message | bytes], topic: str = "gpu-power", *, late_before_us: int = 0
) -> SliceManifest:
    """Land messages as the next ones of partition 0 of a topic, in one slice."""
    head = stored_heads(landing_dir).get((topic, 0))
    first = head.next_offset if head else 0
    batch = Batch(Limits())
    offset = first
    for message in messages:
        batch.add(raw(message, offset, topic=topic))
        offset += 1
    read = OffsetRange(topic=topic, partition=0, topic_id="id", first_offset=first, next_offset=offset)
    after_us = head.landed_at_us if head else 0
    return write_slice(
        landing_dir, batch.take(), [read], source="cluster", late_before_us=late_before_us, after_us=after_us
    )


def offsets_landed(landing_dir: Path, table: str = "gpu_samples") -> list[int]:
    """Return the offset of every landed row of a table, sorted, each as often as it counts."""
    with reading(landing_dir) as manifests:
        files = files_for(manifests, table)
        return sorted(offset for file in files for offset in pl.read_parquet(file, columns=["offset"])["offset"])
