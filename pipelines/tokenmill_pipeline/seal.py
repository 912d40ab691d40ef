"""Rewrites the landing beside ingest: merges small slices, seals old hours, deletes those past retention.

Each step writes new directories first and then renames the catalogue, which is its commit; a crash before that leaves
directories that nobody counts, a crash after it directories that nobody reads, and the next run removes both. Whatever
is merged or sealed lies in directories of one hour each, so that an hour can be read, sealed and deleted by itself.
"""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.landing import (
    FORMAT_VERSION,
    HOUR_COLUMNS,
    HOUR_US,
    SAMPLE_TABLES,
    Dead,
    HourRange,
    NodeSpan,
    OffsetRange,
    SliceManifest,
    files_for,
    list_slices,
    live_manifests,
    newest_heads,
    read_catalogue,
    readers_lock,
    sealed_dir,
    slices_dir,
)
from tokenmill_pipeline.landing_schema import TABLES
from tokenmill_pipeline.landing_write import (
    TEMPORARY_PREFIX,
    WrittenManifest,
    hour_name,
    now_us,
    refusals,
    sync,
    unique_name,
    write_catalogue,
    write_file,
    written_aside,
)
from tokenmill_pipeline.locks import hold

_ABANDONED_SECONDS: Final = 3600
_MERGED_FILES_MAX: Final = 256
_TRASH_PREFIX: Final = ".trash-"
_ORDER: Final[dict[str, str]] = {
    "messages": "node, run_id, sequence",
    "devices": "series_key, sent_at_us",
    "gpu_samples": "series_key, monotonic_us",
    "host_samples": "node, source, id, monotonic_us",
    "placements": "node, gpu_uuid, observed_at_us",
    "servers": "node, server_id, sent_at_us",
    "token_samples": "series_key, monotonic_us",
    "rejected_messages": 'topic, partition, "offset"',
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """What one run rewrote: directories merged away, hours sealed and deleted, directories removed from disk."""

    merged_directories: int
    sealed_hours: int
    deleted_hours: int
    removed_directories: int
    seconds: float


def maintain(landing_dir: Path, settings: IngestSettings, *, at_us: int | None = None) -> MaintenanceReport | None:
    """Merge, seal, delete and clear up; return None where another process is at it.

    Args:
        landing_dir: the landing.
        settings: when slices are merged, hours sealed and deleted, and the memory that may be used.
        at_us: the time that counts as now, for tests.

    Raises:
        TokenmillError: the disk is full or refuses; every row still counts exactly once.
    """
    started = time.monotonic()
    lock = landing_dir / "locks" / "maintenance.lock"
    with hold(lock, wait=False) as held:
        if not held:
            return None
        now = now_us() if at_us is None else at_us
        with refusals(landing_dir), _connection(landing_dir, settings) as connection:
            work = _Maintenance(landing_dir, settings, connection, now)
            removed = work.remove_orphans()
            merged = work.merge()
            sealed = work.seal()
            deleted = work.delete()
            removed += work.remove_dead()
    return MaintenanceReport(
        merged_directories=merged,
        sealed_hours=sealed,
        deleted_hours=deleted,
        removed_directories=removed,
        seconds=time.monotonic() - started,
    )


@contextlib.contextmanager
def _connection(landing_dir: Path, settings: IngestSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_limit_megabytes}MB",
        "threads": 1,
        "temp_directory": str(landing_dir / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    with duckdb.connect(config=config) as connection:
        yield connection


class _Maintenance:
    """One run, inside the maintenance lock."""

    def __init__(
        self, landing_dir: Path, settings: IngestSettings, connection: duckdb.DuckDBPyConnection, now: int
    ) -> None:
        self._landing_dir = landing_dir
        self._settings = settings
        self._connection = connection
        self._now = now

    def merge(self) -> int:
        """Merge slices into one directory per hour, and many directories of an hour into one."""
        # Only what lies there now: ingest may land faster than one can merge.
        slices, merged = self._live("slice"), 0
        while len(slices) >= self._settings.compact_slices:
            portion = self._portion(slices)
            merged += self._split(portion)
            slices = slices[len(portion) :]
        by_hour: dict[int, list[SliceManifest]] = {}
        for manifest in self._live("merged"):
            if manifest.row_count < self._settings.merged_rows_max:
                by_hour.setdefault(manifest.hours_us[0], []).append(manifest)
        for found in by_hour.values():
            portion = self._portion(sorted(found, key=lambda manifest: manifest.row_count))
            if len(found) >= self._settings.compact_slices and len(portion) > 1:
                merged += self._split(portion)
        return merged

    def _portion(self, manifests: Sequence[SliceManifest]) -> list[SliceManifest]:
        """Return the first of them, at least one, as many as may be merged at once."""
        portion: list[SliceManifest] = []
        rows = 0
        for manifest in manifests[:_MERGED_FILES_MAX]:
            rows += manifest.row_count
            if portion and rows > self._settings.merged_rows_max:
                break
            portion.append(manifest)
        return portion

    def _split(self, sources: Sequence[SliceManifest]) -> int:
        hours = sorted({hour for source in sources for hour in source.hours_us})
        self._commit(sources, [self._rewrite(sources, hour, sealed=False) for hour in hours])
        return len(sources)

    def seal(self) -> int:
        """Seal every hour past its late window for which nothing came in lately; return how many."""
        due = self._due()
        if not due:
            return 0
        touching = [manifest for manifest in self._live("slice") if not due.isdisjoint(manifest.hours_us)]
        while touching:
            portion = self._portion(touching)
            self._split(portion)
            touching = touching[len(portion) :]
        for hour in sorted(due):
            sources = [m for m in self._live("merged", "sealed") if hour in m.hours_us]
            self._commit(sources, [self._rewrite(sources, hour, sealed=True)])
        return len(due)

    def _due(self) -> set[int]:
        end_before = self._now - self._settings.late_window_hours * HOUR_US
        landed: dict[int, int] = {}
        for manifest in self._live("slice", "merged"):
            for hour in manifest.hours_us:
                landed[hour] = max(landed.get(hour, 0), manifest.last_landed_at_us)
        return {hour for hour, last in landed.items() if hour + HOUR_US <= end_before and last <= self._quiet_before()}

    def _quiet_before(self) -> int:
        return self._now - round(self._settings.quiet_seconds * 1e6)

    def delete(self) -> int:
        """Give up the sealed hours past retention, counted from their end and from when their last row came in.

        Ingest holds the readers' lock from looking at the deleted hours to landing, so no row of them slips in.
        """
        before = self._now - self._settings.retention_days * 24 * HOUR_US
        with self._alone() as alone:
            if not alone:
                return 0
            live = live_manifests(self._landing_dir)
            open_hours = {hour for m in live if m.kind != "sealed" for hour in m.hours_us}
            old = [
                manifest
                for manifest in live
                if manifest.kind == "sealed"
                and manifest.hours_us[0] + HOUR_US <= before
                and manifest.last_landed_at_us <= before
                and manifest.hours_us[0] not in open_hours
            ]
            if old:
                self._commit(old, [], retired=[manifest.hours_us[0] for manifest in old])
            return len(old)

    def remove_dead(self) -> int:
        """Remove directories that are dead for longer than the grace, when nobody reads; return how many."""
        before = self._now - round(self._settings.removal_grace_seconds * 1e6)
        with self._alone() as alone:
            catalogue = read_catalogue(self._landing_dir)
            old = [entry.path for entry in catalogue.dead if entry.since_us <= before] if alone else []
            if old:
                # Gone for good before the catalogue forgets them: one that came back would count its rows again.
                self._remove(self._landing_dir / path for path in old)
                kept = tuple(entry for entry in catalogue.dead if entry.path not in set(old))
                write_catalogue(self._landing_dir, msgspec.structs.replace(catalogue, dead=kept))
            return len(old)

    def remove_orphans(self) -> int:
        """Remove what crashed rewrites left, and what a slice left that was abandoned an hour ago."""
        catalogue = read_catalogue(self._landing_dir)
        known = {*catalogue.live, *(entry.path for entry in catalogue.dead)}
        orphans = [
            path
            for folder in (slices_dir(self._landing_dir), sealed_dir(self._landing_dir))
            if folder.is_dir()
            for path in folder.iterdir()
            if str(path.relative_to(self._landing_dir)) not in known and _abandoned(path)
        ]
        self._remove(orphans)
        shutil.rmtree(self._landing_dir / "spill", ignore_errors=True)
        return len(orphans)

    def _remove(self, paths: Iterable[Path]) -> None:
        parents = set()
        for path in paths:
            # Renamed first: whoever was about to rename it into place fails, instead of landing half of it.
            with contextlib.suppress(FileNotFoundError):
                trash = path.rename(path.with_name(f"{_TRASH_PREFIX}{path.name.removeprefix(_TRASH_PREFIX)}"))
                shutil.rmtree(trash)
            parents.add(path.parent)
        for parent in parents:
            sync(parent)

    def _alone(self) -> contextlib.AbstractContextManager[bool]:
        return hold(readers_lock(self._landing_dir), wait=False)

    def _live(self, *kinds: str) -> list[SliceManifest]:
        return [manifest for manifest in list_slices(self._landing_dir) if manifest.kind in kinds]

    def _commit(self, dead: Sequence[SliceManifest], live: Sequence[str], retired: Iterable[int] = ()) -> None:
        catalogue = read_catalogue(self._landing_dir)
        paths = [str(manifest.path.relative_to(self._landing_dir)) for manifest in dead]
        heads = newest_heads(catalogue.heads, [manifest for manifest in dead if manifest.kind == "slice"])
        write_catalogue(
            self._landing_dir,
            msgspec.structs.replace(
                catalogue,
                heads=tuple(heads.values()),
                live=(*(path for path in catalogue.live if path not in set(paths)), *live),
                dead=(*catalogue.dead, *(Dead(path=path, since_us=self._now) for path in paths)),
                retired=joined(catalogue.retired, retired),
            ),
        )

    def _rewrite(self, sources: Sequence[SliceManifest], hour: int, *, sealed: bool) -> str:
        """Write the rows of an hour into one directory that nobody counts yet; return its path within the landing."""
        created_at_us = now_us()
        parent = (sealed_dir if sealed else slices_dir)(self._landing_dir)
        name = unique_name(f"h-{hour_name(hour)}" if sealed else "m", created_at_us)
        with written_aside(parent, name) as directory:
            rows = {
                table: count
                for table in TABLES
                if (count := self._copy(files_for(sources, table, [hour]), directory, table, hour))
            }
            manifest = WrittenManifest(
                version=FORMAT_VERSION,
                name=name,
                kind="sealed" if sealed else "merged",
                created_at_us=created_at_us,
                last_landed_at_us=max(source.last_landed_at_us for source in sources),
                source=None,
                offsets=_joined_offsets(sources),
                rows=rows,
                table_hours_us=dict.fromkeys(rows, (hour,)),
                late_hours_us=tuple(
                    late for late in (hour,) if any(late in source.late_hours_us for source in sources)
                ),
                replaces=tuple(source.name for source in sources),
                nodes=tuple(self._spans([directory / f"{table}.parquet" for table in SAMPLE_TABLES if table in rows])),
            )
            write_file(directory / "slice.json", msgspec.json.encode(manifest))
        return f"{parent.name}/{name}"

    def _copy(self, files: Sequence[Path], directory: Path, table: str, hour: int) -> int:
        """Write the hour's rows of a table, sorted: that is what makes reading an hour cheap, and the file a third."""
        if not files:
            return 0
        target = directory / f"{table}.parquet"
        column = HOUR_COLUMNS[table]
        count = self._run(
            f"copy (select * from {_scan(files)} where {column} >= {hour} and {column} < {hour + HOUR_US} "
            f"order by {_ORDER[table]}) to {_text(target)} (format parquet, compression zstd, parquet_version v2)"
        )[0][0]
        if count:
            sync(target)
        else:
            target.unlink()
        return int(count)

    def _spans(self, files: Sequence[Path]) -> list[NodeSpan]:
        if not files:
            return []
        rows = self._run(
            f"select node, min(sampled_at_us), max(sampled_at_us) from {_scan(files)} group by node order by node"
        )
        return [NodeSpan(node=node, first_sampled_at_us=first, last_sampled_at_us=last) for node, first, last in rows]

    def _run(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise TokenmillError(
                f"cannot rewrite the landing {self._landing_dir}: {str(error).splitlines()[0]}; no row is lost: make "
                "room or mend the folder, the next run tries again"
            ) from error


def joined(ranges: Sequence[HourRange], hours: Iterable[int]) -> tuple[HourRange, ...]:
    """Return the ranges and single hours as the fewest ranges that hold the same hours."""
    found: list[HourRange] = []
    added = [HourRange(first_us=hour, end_us=hour + HOUR_US) for hour in hours]
    for one in sorted([*ranges, *added], key=lambda one: one.first_us):
        if found and one.first_us <= found[-1].end_us:
            found[-1] = HourRange(first_us=found[-1].first_us, end_us=max(found[-1].end_us, one.end_us))
        else:
            found.append(one)
    return tuple(found)


def _joined_offsets(sources: Sequence[SliceManifest]) -> tuple[OffsetRange, ...]:
    """Return from where to where each topic partition was read for the sources, with whatever lay between."""
    found: dict[tuple[str, int, str | None], OffsetRange] = {}
    for read in (read for source in sources for read in source.offsets):
        known = found.setdefault((read.topic, read.partition, read.topic_id), read)
        found[read.topic, read.partition, read.topic_id] = dataclasses.replace(
            known,
            first_offset=min(known.first_offset, read.first_offset),
            next_offset=max(known.next_offset, read.next_offset),
        )
    return tuple(found.values())


def _abandoned(path: Path) -> bool:
    """Return whether a directory that the catalogue does not know can be removed; the maintenance lock is held."""
    name = path.name.removeprefix(TEMPORARY_PREFIX)
    if name.startswith("s-"):
        # A slice without the prefix is live; one with it may still be written, and be renamed at this moment.
        with contextlib.suppress(FileNotFoundError):
            return name != path.name and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        return False
    return True


def _scan(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(map(_text, files))}], union_by_name = true)"


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
