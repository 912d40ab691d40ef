"""Tests of tokenmill_pipeline.seal."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.landed import land, offsets_landed
from tests.wire_messages import HOUR_US, START_US, gpu_power, token_counters
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.landing import (
    HourRange,
    files_for,
    list_slices,
    reading,
    retired_hours,
    stored_offsets,
    unseen,
)
from tokenmill_pipeline.landing_schema import TABLES
from tokenmill_pipeline.locks import hold
from tokenmill_pipeline.seal import MaintenanceReport, joined, maintain

DAY_US = 24 * HOUR_US
EAGER = IngestSettings(
    compact_slices=2, late_window_hours=2, retention_days=1, quiet_seconds=0, removal_grace_seconds=0
)
"""Merges and removes at once; seals two hours after an hour's end, deletes a day after it."""


def run(landing_dir: Path, at_us: int, settings: IngestSettings = EAGER) -> MaintenanceReport:
    """Maintain a landing at a time, which nobody else does."""
    report = maintain(landing_dir, settings, at_us=at_us)
    assert report is not None
    return report


@pytest.fixture(autouse=True)
def landed_then(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let slices land at a time of the test's choice, at first in the first hour of the messages."""

    def choose(time_us: int) -> None:
        monkeypatch.setattr("tokenmill_pipeline.landing_write.now_us", lambda: time_us)
        monkeypatch.setattr("tokenmill_pipeline.seal.now_us", lambda: time_us)

    choose(START_US)
    return choose  # type: ignore[return-value]


def kinds(landing_dir: Path) -> list[tuple[str, tuple[int, ...], int]]:
    """Return kind, hours after the start, and GPU rows of every live directory."""
    return [
        (m.kind, tuple((hour - START_US) // HOUR_US for hour in m.hours_us), m.rows.get("gpu_samples", 0))
        for m in list_slices(landing_dir)
    ]


def test_small_slices_are_merged_into_one_directory_per_hour(tmp_path: Path) -> None:
    """Rows go to the directory of their hour; offsets go on; the old directories are gone from disk."""
    land(tmp_path, [gpu_power(at_us=START_US), gpu_power(at_us=START_US + HOUR_US)])
    land(tmp_path, [gpu_power(at_us=START_US), token_counters(at_us=START_US)])
    report = run(tmp_path, START_US)

    assert (2, 2) == (report.merged_directories, report.removed_directories)
    assert [("merged", (0,), 4), ("merged", (1,), 2)] == sorted(kinds(tmp_path))
    assert ([0, 0, 1, 1, 2, 2], {("gpu-power", 0): 4}) == (offsets_landed(tmp_path), stored_offsets(tmp_path))
    assert 2 == len(list((tmp_path / "slices").iterdir()))


def test_few_slices_are_left_alone(tmp_path: Path) -> None:
    """Below the number of slices that is worth it nothing is rewritten."""
    land(tmp_path, [gpu_power()])

    assert 0 == run(tmp_path, START_US).merged_directories
    assert [("slice", (0,), 2)] == kinds(tmp_path)


def test_merged_directories_of_an_hour_are_merged_again(tmp_path: Path) -> None:
    """An hour that takes many slices does not end in many directories."""
    for sequence in range(8):
        land(tmp_path, [gpu_power(sequence=sequence)])
        run(tmp_path, START_US)

    assert len(kinds(tmp_path)) <= 2
    assert sorted([*range(8), *range(8)]) == offsets_landed(tmp_path)


def test_a_merge_stays_within_its_row_limit(tmp_path: Path) -> None:
    """Large directories are not rewritten over and over."""
    small = IngestSettings(compact_slices=2, merged_rows_max=20, removal_grace_seconds=0)
    for _ in range(4):
        land(tmp_path, [gpu_power(gpus=8)])
        run(tmp_path, START_US, small)
    before = {manifest.name for manifest in list_slices(tmp_path) if manifest.kind == "merged"}
    run(tmp_path, START_US, small)

    assert before == {manifest.name for manifest in list_slices(tmp_path) if manifest.kind == "merged"}


def test_an_hour_is_sealed_sorted_after_its_late_window(tmp_path: Path) -> None:
    """One file per table, by series and monotonic time, with the types it had before."""
    land(tmp_path, [gpu_power(at_us=START_US + offset * 1_000_000) for offset in (5, 1, 3)])
    land(tmp_path, [gpu_power(at_us=START_US + HOUR_US)])
    before = run(tmp_path, START_US + 3 * HOUR_US - 1)
    report = run(tmp_path, START_US + 3 * HOUR_US)

    assert (0, 1) == (before.sealed_hours, report.sealed_hours)
    assert [("merged", (1,), 2), ("sealed", (0,), 6)] == sorted(kinds(tmp_path))
    (file,) = files_for(list_slices(tmp_path), "gpu_samples", [START_US])
    frame = pl.read_parquet(file)
    assert frame.sort("series_key", "monotonic_us").equals(frame)
    assert dict(TABLES["gpu_samples"]) == dict(frame.schema)


def test_every_table_keeps_its_types_through_sealing(tmp_path: Path) -> None:
    """Build reads sealed and fresh files side by side."""
    land(tmp_path, [gpu_power(), token_counters(), b"nonsense"])
    run(tmp_path, START_US + DAY_US)
    tables = ("messages", "devices", "placements", "servers", "token_samples", "rejected_messages")

    assert {table: dict(TABLES[table]) for table in tables} == {
        table: dict(pl.read_parquet_schema(file))
        for table in tables
        for file in files_for(list_slices(tmp_path), table)
    }


def test_late_rows_land_beside_a_sealed_hour_and_it_is_sealed_again(tmp_path: Path) -> None:
    """A late row counts at once, and lies in the one sealed file after the next run."""
    land(tmp_path, [gpu_power()])
    run(tmp_path, START_US + 3 * HOUR_US)
    land(tmp_path, [gpu_power(sequence=1)])

    assert ["sealed", "slice"] == sorted(kind for kind, _, _ in kinds(tmp_path))
    assert [0, 0, 1, 1] == offsets_landed(tmp_path)
    run(tmp_path, START_US + 3 * HOUR_US)
    assert [("sealed", (0,), 4)] == kinds(tmp_path)


def test_an_hour_that_still_gets_rows_is_not_sealed_yet(tmp_path: Path, landed_then: Callable[[int], None]) -> None:
    """A history that is being replayed is left alone until it is quiet for a while."""
    patient = IngestSettings(late_window_hours=2, quiet_seconds=600)
    landed_then(START_US + DAY_US)
    land(tmp_path, [gpu_power()])

    assert 0 == run(tmp_path, START_US + DAY_US + 599_000_000, patient).sealed_hours
    assert 1 == run(tmp_path, START_US + DAY_US + 600_000_000, patient).sealed_hours


def test_an_hour_is_deleted_after_retention_and_remembered(tmp_path: Path) -> None:
    """Rows are gone, offsets stay, and the hour is known as deleted."""
    land(tmp_path, [gpu_power(at_us=START_US), gpu_power(at_us=START_US + HOUR_US)])
    run(tmp_path, START_US + 20 * HOUR_US)
    report = run(tmp_path, START_US + HOUR_US + DAY_US)

    assert 1 == report.deleted_hours
    assert [("sealed", (1,), 2)] == kinds(tmp_path)
    assert {("gpu-power", 0): 2} == stored_offsets(tmp_path)
    assert (HourRange(first_us=START_US, end_us=START_US + HOUR_US),) == retired_hours(tmp_path)
    assert 1 == len(list((tmp_path / "sealed").iterdir()))


def test_an_old_history_is_kept_for_the_retention_from_when_it_landed(
    tmp_path: Path, landed_then: Callable[[int], None]
) -> None:
    """What was backfilled long after its hours is not deleted before it could be built."""
    landed_then(START_US + 30 * DAY_US)
    land(tmp_path, [gpu_power()])

    assert 0 == run(tmp_path, START_US + 31 * DAY_US - 1).deleted_hours
    assert 1 == run(tmp_path, START_US + 31 * DAY_US).deleted_hours


def test_an_hour_with_late_rows_that_are_not_sealed_yet_is_not_deleted(
    tmp_path: Path, landed_then: Callable[[int], None]
) -> None:
    """Deleting it would leave a part of the hour that looks like the whole."""
    patient = dataclasses.replace(EAGER, quiet_seconds=600)
    land(tmp_path, [gpu_power()])
    run(tmp_path, START_US + 3 * HOUR_US, patient)
    landed_then(START_US + 2 * DAY_US)
    land(tmp_path, [gpu_power(sequence=1)])

    assert 0 == run(tmp_path, START_US + 2 * DAY_US + 1, patient).deleted_hours
    assert [0, 0, 1, 1] == offsets_landed(tmp_path)


def test_what_was_rewritten_is_removed_after_its_grace(tmp_path: Path) -> None:
    """Until then it lies there, counted by nobody; each directory has a grace of its own."""
    slow = dataclasses.replace(EAGER, removal_grace_seconds=100)
    removed = []
    for at_us in (START_US, START_US + 90_000_000, START_US + 100_000_000):
        land(tmp_path, [gpu_power()])
        land(tmp_path, [gpu_power()])
        removed.append(run(tmp_path, at_us, slow).removed_directories)
        assert list(range(2 * len(removed))) == offsets_landed(tmp_path, "messages")

    assert [0, 0, 2] == removed


def test_only_what_nobody_counts_and_nobody_writes_is_an_orphan(tmp_path: Path) -> None:
    """Old slices stay; what a crash left of a rewrite goes, and of a slice once it was abandoned for an hour."""
    manifest = land(tmp_path, [gpu_power()])
    slices = tmp_path / "slices"
    for name in (".tmp-s-being-written", ".tmp-s-abandoned", ".tmp-m-1", "m-1", ".trash-s-1"):
        (slices / name).mkdir()
    for name in (manifest.name, ".tmp-s-abandoned"):
        os.utime(slices / name, (0, 0))

    assert 4 == run(tmp_path, START_US).removed_directories
    assert {manifest.name, ".tmp-s-being-written"} == {path.name for path in slices.iterdir()}
    assert [0, 0] == offsets_landed(tmp_path)


def test_nothing_is_removed_while_somebody_reads(tmp_path: Path) -> None:
    """The files that a reader was given are there until it has done."""
    land(tmp_path, [gpu_power()])
    land(tmp_path, [gpu_power()])
    with reading(tmp_path) as manifests:
        assert 0 == run(tmp_path, START_US).removed_directories
        rows = sum(pl.read_parquet(file).height for file in files_for(manifests, "gpu_samples"))

    assert 4 == rows
    assert 2 == run(tmp_path, START_US).removed_directories


def test_one_process_maintains_at_a_time(tmp_path: Path) -> None:
    """The second one goes away at once."""
    with hold(tmp_path / "locks" / "maintenance.lock"):
        assert None is maintain(tmp_path, EAGER)


def test_rewritten_rows_are_not_new_to_a_reader_that_saw_them(tmp_path: Path) -> None:
    """Merging and sealing touch no hour that build has built; a late row does."""
    land(tmp_path, [gpu_power()])
    land(tmp_path, [gpu_power()])
    seen = {manifest.name for manifest in list_slices(tmp_path)}
    run(tmp_path, START_US)
    assert [] == unseen(list_slices(tmp_path), seen)

    seen = {manifest.name for manifest in list_slices(tmp_path)}
    run(tmp_path, START_US + 3 * HOUR_US)
    assert [] == unseen(list_slices(tmp_path), seen)
    land(tmp_path, [gpu_power()])
    assert ["slice"] == [manifest.kind for manifest in unseen(list_slices(tmp_path), seen)]


def test_ranges_of_hours_are_joined() -> None:
    """Neighbouring deleted hours are one entry, so that the list stays short for ever."""
    first = HourRange(first_us=0, end_us=HOUR_US)

    assert (HourRange(first_us=0, end_us=3 * HOUR_US), HourRange(first_us=5 * HOUR_US, end_us=6 * HOUR_US)) == joined(
        [first], [5 * HOUR_US, 2 * HOUR_US, HOUR_US]
    )


class PowerCutError(BaseException):
    """The machine lost power; nothing after it happened."""


def cut_power_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let the `call`-th change of the file system, and every later one, not happen."""
    made = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made >= call:
                raise PowerCutError
            return real(*arguments, **options)

        return guarded

    for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "fsync"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))


def prepare(landing_dir: Path) -> None:
    """Land rows of three hours, one of them sealed with a late row beside, one past retention."""
    land(landing_dir, [gpu_power(at_us=START_US), gpu_power(at_us=START_US + HOUR_US, sequence=1)])
    run(landing_dir, START_US + 3 * HOUR_US)
    land(landing_dir, [gpu_power(at_us=START_US + HOUR_US, sequence=2), token_counters(at_us=START_US + 30 * HOUR_US)])
    land(landing_dir, [gpu_power(at_us=START_US + 30 * HOUR_US, sequence=3)])


@pytest.mark.slow
def test_a_power_cut_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Cut at every second change of the file system in turn: rows count once, before and after the next run."""
    at_us = START_US + HOUR_US + DAY_US
    cuts = 0
    prepare(tmp_path / "before")
    for call in range(1, 1000, 2):
        landing_dir = tmp_path / str(call)
        shutil.copytree(tmp_path / "before", landing_dir)
        with pytest.MonkeyPatch.context() as patch:
            cut_power_at(patch, call)
            try:
                run(landing_dir, at_us)
                break
            except PowerCutError:
                cuts += 1
        after_cut = offsets_landed(landing_dir)
        assert after_cut in ([0, 0, 1, 1, 2, 2, 4, 4], [1, 1, 2, 2, 4, 4])
        run(landing_dir, at_us)
        assert ([1, 1, 2, 2, 4, 4], {("gpu-power", 0): 5}) == (offsets_landed(landing_dir), stored_offsets(landing_dir))

    assert cuts > 40


STEP = st.one_of(
    st.tuples(st.just("land"), st.lists(st.integers(0, 30), min_size=1, max_size=3)),
    st.tuples(st.just("maintain"), st.lists(st.integers(0, 40), min_size=1, max_size=1)),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=8))
def test_any_order_of_landing_and_maintaining_keeps_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int]]]
) -> None:
    """Whatever is merged and sealed when, every row counts exactly once and offsets never move back."""
    landing_dir = tmp_path_factory.mktemp("landing")
    keeping = IngestSettings(
        compact_slices=2, late_window_hours=2, retention_days=99, quiet_seconds=0, removal_grace_seconds=0
    )
    count = 0
    for what, hours in steps:
        if what == "land":
            land(landing_dir, [gpu_power(at_us=START_US + hour * HOUR_US, gpus=1) for hour in hours])
            count += len(hours)
        else:
            run(landing_dir, START_US + hours[0] * HOUR_US, keeping)
        assert list(range(count)) == offsets_landed(landing_dir)
        assert count == stored_offsets(landing_dir).get(("gpu-power", 0), 0)
