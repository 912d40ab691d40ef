"""Writes directories of the landing so that a crash at any moment leaves each one whole or absent."""

import contextlib
import io
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.landing import (
    FORMAT_VERSION,
    HOUR_COLUMNS,
    HOUR_US,
    SAMPLE_TABLES,
    Catalogue,
    NodeSpan,
    OffsetRange,
    SliceManifest,
    StoredManifest,
    read_manifest,
    slices_dir,
)

TEMPORARY_PREFIX: Final = ".tmp-"


class WrittenManifest(StoredManifest, frozen=True, kw_only=True):
    """`slice.json` in whole."""

    nodes: tuple[NodeSpan, ...]


def now_us() -> int:
    """Return the wall time in microseconds since 1970."""
    return time.time_ns() // 1000


def write_slice(
    landing_dir: Path,
    frames: Mapping[str, pl.DataFrame],
    offsets: Sequence[OffsetRange],
    *,
    source: str | None,
    late_before_us: int = 0,
    after_us: int = 0,
) -> SliceManifest:
    """Land rows and the offsets that they came from, in one rename; empty frames get no file.

    Args:
        landing_dir: where the data directory keeps its landing.
        frames: the rows per landed table, with the columns of `landing_schema.TABLES`.
        offsets: what was read of every topic partition, also where it gave no row.
        source: the Kafka cluster or the digest of the file.
        late_before_us: an hour that ended before this time is noted as late.
        after_us: when the writer's previous slice was made: this one counts as made later, also if the clock fell.

    Raises:
        TokenmillError: the disk is full or refuses; nothing is left behind and no offset has moved.
    """
    created_at_us = max(now_us(), after_us + 1)
    name = unique_name("s", created_at_us)
    kept = {table: frame for table, frame in frames.items() if not frame.is_empty()}
    hours = {table: frame_hours(frame, HOUR_COLUMNS[table]) for table, frame in kept.items()}
    manifest = WrittenManifest(
        version=FORMAT_VERSION,
        name=name,
        kind="slice",
        created_at_us=created_at_us,
        last_landed_at_us=created_at_us,
        source=source,
        offsets=tuple(offsets),
        rows={table: frame.height for table, frame in kept.items()},
        table_hours_us=hours,
        late_hours_us=tuple(
            sorted({hour for table in hours for hour in hours[table] if hour + HOUR_US <= late_before_us})
        ),
        replaces=(),
        nodes=tuple(frame_spans(kept)),
    )
    with refusals(landing_dir), written_aside(slices_dir(landing_dir), name) as directory:
        for table, frame in kept.items():
            write_frame(directory / f"{table}.parquet", frame)
        write_file(directory / "slice.json", msgspec.json.encode(manifest))
    return read_manifest(slices_dir(landing_dir) / name)


@contextlib.contextmanager
def written_aside(parent: Path, name: str) -> Iterator[Path]:
    """Yield an empty directory to fill; at the end sync and rename it to `parent/name`, or leave nothing at all.

    Every file in it must have been synced by whoever wrote it (see `write_file`, `sync`).
    """
    parent.mkdir(parents=True, exist_ok=True)
    temporary = parent / f"{TEMPORARY_PREFIX}{name}"
    temporary.mkdir()
    try:
        yield temporary
        sync(temporary)
        temporary.rename(parent / name)
        sync(parent)
    finally:
        # After the rename there is nothing under this name.
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def refusals(landing_dir: Path) -> Iterator[None]:
    """Turn what the operating system refuses, a full disk above all, into one line that says what still holds."""
    try:
        yield
    except OSError as error:
        raise TokenmillError(
            f"cannot write to the landing {landing_dir}: {error.strerror or error}; nothing was half-written and no "
            "offset moved: make room or mend the folder, then start ingest again"
        ) from error


def write_catalogue(landing_dir: Path, catalogue: Catalogue) -> None:
    """Replace `heads.json` by a rename: this is the commit of a rewrite."""
    temporary = landing_dir / f"{TEMPORARY_PREFIX}heads.json"
    with refusals(landing_dir):
        write_file(temporary, msgspec.json.encode(catalogue))
        temporary.replace(landing_dir / "heads.json")
        sync(landing_dir)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame as Parquet and sync it; through memory, so that a full disk is an `OSError` like any other."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    write_file(path, buffer.getbuffer())


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a whole file and sync it."""
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def sync(path: Path) -> None:
    """Sync a file or a directory that somebody else has written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unique_name(prefix: str, created_at_us: int) -> str:
    """Return a name that sorts by time and that no other process chooses."""
    return f"{prefix}-{created_at_us:016d}-{secrets.token_hex(4)}"


def hour_name(hour_us: int) -> str:
    """Return an hour as `20261124T05`, in UTC."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=hour_us)).strftime("%Y%m%dT%H")


def frame_hours(frame: pl.DataFrame, column: str) -> tuple[int, ...]:
    """Return the start of every hour that a row of the frame lies in, sorted."""
    hours = frame.select((pl.col(column) // HOUR_US * HOUR_US).unique().sort())
    return tuple(hours.to_series().to_list())


def frame_spans(frames: Mapping[str, pl.DataFrame]) -> list[NodeSpan]:
    """Return first and last sample time of every node over all sample tables."""
    parts = [frames[table].select("node", "sampled_at_us") for table in SAMPLE_TABLES if table in frames]
    if not parts:
        return []
    sampled = pl.col("sampled_at_us")
    spans = pl.concat(parts).group_by("node").agg(first=sampled.min(), last=sampled.max()).sort("node")
    return [
        NodeSpan(node=node, first_sampled_at_us=first, last_sampled_at_us=last) for node, first, last in spans.rows()
    ]
