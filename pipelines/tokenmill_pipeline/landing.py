"""Reads the landing: which directories of Parquet are live, which rows and offsets they hold, each row exactly once.

```
<data>/landing/
  slices/s-<time>-<random>/   one commit of ingest: <table>.parquet, slice.json (rows and offsets together)
  slices/m-<time>-<random>/   several slices rewritten as one, rows of one hour
  sealed/h-<hour>-<random>/   an hour past the late window, sorted
  heads.json                  the catalogue: offsets of what was rewritten, live m- and h- directories, dead ones
  locks/                      readers.lock, maintenance.lock, one per topic partition
```
An `s-` directory is live unless the catalogue calls it dead; an `m-` or `h-` directory is live only if the catalogue
says so. So the rename of `heads.json` is the one commit of every rewrite, however many directories it swaps. Dead
directories are removed later, and never while somebody reads (`reading`).
"""

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.locks import hold

T = TypeVar("T")

HOUR_US: Final = 3_600_000_000
FORMAT_VERSION: Final = 1
"""Rises when the meaning of slice.json or heads.json changes; a reader refuses a version that it does not know."""

HOUR_COLUMNS: Final[dict[str, str]] = {
    "messages": "sent_at_us",
    "devices": "sent_at_us",
    "gpu_samples": "sampled_at_us",
    "host_samples": "sampled_at_us",
    "placements": "observed_at_us",
    "servers": "sent_at_us",
    "token_samples": "sampled_at_us",
    "rejected_messages": "appended_at_us",
}
"""The column that says in which hour a row of each landed table lies."""

SAMPLE_TABLES: Final = ("gpu_samples", "host_samples", "token_samples")

Kind = Literal["slice", "merged", "sealed"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """What was read of one topic partition: from `first_offset` up to and without `next_offset`.

    A file has the topic `file:<sha256>`, the partition 0 and its line numbers, from 0, as offsets.
    """

    topic: str
    partition: int
    topic_id: str | None
    first_offset: int
    next_offset: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpan:
    """The first and the last sample time that a slice holds of a node."""

    node: str
    first_sampled_at_us: int
    last_sampled_at_us: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SliceManifest:
    """One live directory of the landing.

    `rows` and `table_hours_us` have an entry for every table that has a file here. `late_hours_us` are the hours whose
    late window had passed when the rows landed. `replaces` names the directories that a merged or sealed one was
    rewritten from, so that its rows are not taken for new ones (see `unseen`). `source` is the Kafka cluster, or the
    digest of the file. `last_landed_at_us` is when the newest of its rows came in.
    """

    name: str
    path: Path
    kind: Kind
    created_at_us: int
    last_landed_at_us: int
    source: str | None
    offsets: tuple[OffsetRange, ...]
    rows: dict[str, int]
    table_hours_us: dict[str, tuple[int, ...]]
    late_hours_us: tuple[int, ...]
    replaces: tuple[str, ...]

    @property
    def hours_us(self) -> tuple[int, ...]:
        """Return the start of every hour that a row of any table lies in, sorted."""
        return tuple(sorted({hour for hours in self.table_hours_us.values() for hour in hours}))

    @property
    def nodes(self) -> tuple[NodeSpan, ...]:
        """Return the spans of sample times per node; read on each call, for there are many and few readers want them.

        Raises:
            TokenmillError: the directory is gone, for the caller did not stay inside `reading`.
        """
        path = self.path / "slice.json"
        return _load(path, StoredNodes).nodes

    @property
    def row_count(self) -> int:
        """Return the rows of all tables together."""
        return sum(self.rows.values())


class StoredManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`slice.json` as it lies on disk; see `SliceManifest`."""

    version: int
    name: str
    kind: Kind
    created_at_us: int
    last_landed_at_us: int
    source: str | None
    offsets: tuple[OffsetRange, ...]
    rows: dict[str, int]
    table_hours_us: dict[str, tuple[int, ...]]
    late_hours_us: tuple[int, ...]
    replaces: tuple[str, ...]


class StoredNodes(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `slice.json` that is read only on demand."""

    nodes: tuple[NodeSpan, ...]


class Dead(msgspec.Struct, frozen=True, kw_only=True):
    """A directory whose rows live elsewhere, or nowhere, since `since_us`; `path` is relative to the landing."""

    path: str
    since_us: int


class HourRange(msgspec.Struct, frozen=True, kw_only=True):
    """Whole hours from `first_us` up to and without `end_us`."""

    first_us: int
    end_us: int


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading goes on in a topic partition, as the slice said that landed at `landed_at_us`."""

    topic: str
    partition: int
    topic_id: str | None
    next_offset: int
    landed_at_us: int


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """`heads.json`: written by the one process that holds the maintenance lock, renamed into place whole."""

    version: int = FORMAT_VERSION
    heads: tuple[Head, ...] = ()
    live: tuple[str, ...] = ()
    dead: tuple[Dead, ...] = ()
    retired: tuple[HourRange, ...] = ()


def slices_dir(landing_dir: Path) -> Path:
    """Return the folder of slices and of what they were merged into."""
    return landing_dir / "slices"


def sealed_dir(landing_dir: Path) -> Path:
    """Return the folder of sealed hours."""
    return landing_dir / "sealed"


def hour_of(time_us: int) -> int:
    """Return the start of the hour that a time lies in; both are microseconds since 1970."""
    return time_us - time_us % HOUR_US


def readers_lock(landing_dir: Path) -> Path:
    """Return the lock that readers share and that whoever takes directories away holds alone."""
    return landing_dir / "locks" / "readers.lock"


@contextlib.contextmanager
def reading(landing_dir: Path) -> Iterator[list[SliceManifest]]:
    """Yield the live directories, none of which is removed before the block ends.

    Many may read at once, and ingest goes on landing, merging and sealing; only the removal of files waits.
    """
    with hold(readers_lock(landing_dir), shared=True):
        yield live_manifests(landing_dir)


def list_slices(landing_dir: Path) -> list[SliceManifest]:
    """Return the live directories, oldest first: together they hold each landed row exactly once.

    Whoever then reads their files does both inside `reading`, or they may be merged away and removed underneath.
    """
    with reading(landing_dir) as manifests:
        return manifests


def files_for(manifests: Iterable[SliceManifest], table: str, hours_us: Collection[int] | None = None) -> list[Path]:
    """Return the Parquet files that hold rows of a table, in any hour or in one of `hours_us` (starts of hours).

    A file may hold rows of other hours too: filter on `HOUR_COLUMNS[table]`. Without hours, the files together hold
    each row exactly once.
    """
    wanted = None if hours_us is None else set(hours_us)
    return [
        manifest.path / f"{table}.parquet"
        for manifest in manifests
        if (hours := manifest.table_hours_us.get(table)) is not None
        and (wanted is None or not wanted.isdisjoint(hours))
    ]


def unseen(manifests: Iterable[SliceManifest], seen: Collection[str]) -> list[SliceManifest]:
    """Return the directories with rows that a reader has not seen, where `seen` are the names it was last given.

    A directory is seen if its name is, or if every directory that it was rewritten from was. A rewrite of both seen and
    unseen ones counts as unseen in whole: a reader does too much rather than too little.
    """
    known = frozenset(seen)
    return [m for m in manifests if m.name not in known and not (m.replaces and known.issuperset(m.replaces))]


def stored_offsets(landing_dir: Path) -> dict[tuple[str, int], int]:
    """Return where reading goes on, by (topic, partition)."""
    return {key: head.next_offset for key, head in stored_heads(landing_dir).items()}


def stored_heads(landing_dir: Path) -> dict[tuple[str, int], Head]:
    """Return where reading goes on, with the topic's id, from the live slices and the catalogue."""
    with hold(readers_lock(landing_dir), shared=True):
        catalogue = read_catalogue(landing_dir)
        slices = [manifest for manifest in live_manifests(landing_dir) if manifest.kind == "slice"]
    return newest_heads(catalogue.heads, slices)


def newest_heads(heads: Sequence[Head], slices: Iterable[SliceManifest]) -> dict[tuple[str, int], Head]:
    """Return the heads moved on by what the slices read.

    The newest decides, not the largest offset: a topic that was made anew starts again at 0. Each partition has one
    writer at a time, which gives its slices rising times whatever the wall clock does.
    """
    found = [
        Head(
            topic=read.topic,
            partition=read.partition,
            topic_id=read.topic_id,
            next_offset=read.next_offset,
            landed_at_us=manifest.created_at_us,
        )
        for manifest in slices
        for read in manifest.offsets
    ]
    ordered = sorted([*heads, *found], key=lambda head: head.landed_at_us)
    return {(head.topic, head.partition): head for head in ordered}


def retired_hours(landing_dir: Path) -> tuple[HourRange, ...]:
    """Return the hours whose samples retention has deleted: they can be priced again, never measured again."""
    return read_catalogue(landing_dir).retired


def read_catalogue(landing_dir: Path) -> Catalogue:
    """Return the catalogue, an empty one where nothing was rewritten yet.

    Raises:
        TokenmillError: it cannot be read, or a newer version wrote it.
    """
    path = landing_dir / "heads.json"
    return _load(path, Catalogue) if path.exists() else Catalogue()


def read_manifest(path: Path) -> SliceManifest:
    """Return what `slice.json` of a directory says.

    Raises:
        TokenmillError: it is gone or cannot be read, or a newer version wrote it.
    """
    return _read_manifest(str(path))


# A directory never changes under its name, so neither does its manifest.
@functools.lru_cache(maxsize=8192)
def _read_manifest(directory: str) -> SliceManifest:
    path = Path(directory) / "slice.json"
    stored = _load(path, StoredManifest)
    fields = {name: getattr(stored, name) for name in stored.__struct_fields__ if name != "version"}
    return SliceManifest(path=path.parent, **fields)


def live_manifests(landing_dir: Path) -> list[SliceManifest]:
    """Return the live directories, for a caller that holds the readers' lock itself."""
    # The catalogue is read before the folder: a directory that arrives in between is a new slice and never one that a
    # rewrite already counted, and one that is dead by now is still there, because removal waits for readers.
    catalogue = read_catalogue(landing_dir)
    dead = {entry.path for entry in catalogue.dead}
    paths = [landing_dir / path for path in catalogue.live]
    paths += [slices_dir(landing_dir) / name for name in slice_names(landing_dir) if f"slices/{name}" not in dead]
    return sorted((read_manifest(path) for path in paths), key=lambda manifest: (manifest.created_at_us, manifest.name))


def slice_names(landing_dir: Path) -> list[str]:
    """Return the names of all slices of ingest that lie on disk, live or dead."""
    try:
        return [path.name for path in slices_dir(landing_dir).iterdir() if path.name.startswith("s-")]
    except FileNotFoundError:
        return []


def _load(path: Path, shape: type[T]) -> T:
    try:
        version = msgspec.json.decode(content := path.read_bytes(), type=_Version).version
        if version != FORMAT_VERSION:
            raise TokenmillError(
                f"{path} has format version {version}, this tokenmill knows {FORMAT_VERSION}: update tokenmill"
            )
        return msgspec.json.decode(content, type=shape)
    except OSError as error:
        raise TokenmillError(f"cannot read {path}: {error.strerror}; check the landing's folder") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TokenmillError(f"{path} is damaged: {error}; restore the landing from a copy") from error


class _Version(msgspec.Struct):
    version: int
