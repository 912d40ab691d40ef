"""Tests of tokenmill_pipeline.landing."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from tests.landed import land, offsets_landed
from tests.wire_messages import HOUR_US, START_US, gpu_power, token_counters
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.landing import (
    Catalogue,
    Dead,
    Head,
    NodeSpan,
    OffsetRange,
    files_for,
    hour_of,
    list_slices,
    newest_heads,
    read_catalogue,
    retired_hours,
    stored_offsets,
    unseen,
)
from tokenmill_pipeline.landing_write import write_catalogue


def test_a_landing_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Before the first slice there is nothing, which is no error."""
    assert ([], {}, ()) == (
        list_slices(tmp_path / "no"),
        stored_offsets(tmp_path / "no"),
        retired_hours(tmp_path / "no"),
    )


def test_a_slice_says_what_it_holds(tmp_path: Path) -> None:
    """Rows and hours per table, offsets and the span of each node's samples."""
    land(tmp_path, [gpu_power(at_us=START_US), gpu_power(at_us=START_US + HOUR_US), token_counters("n2")])
    (manifest,) = list_slices(tmp_path)

    assert (4, 2) == (manifest.rows["gpu_samples"], manifest.rows["placements"] - manifest.rows["servers"] - 1)
    assert {"gpu_samples": (START_US, START_US + HOUR_US), "token_samples": (START_US,)} == {
        table: manifest.table_hours_us[table] for table in ("gpu_samples", "token_samples")
    }
    assert (
        NodeSpan(node="n1", first_sampled_at_us=START_US, last_sampled_at_us=START_US + HOUR_US),
        NodeSpan(node="n2", first_sampled_at_us=START_US, last_sampled_at_us=START_US),
    ) == manifest.nodes
    assert ("slice", "cluster", (START_US, START_US + HOUR_US)) == (manifest.kind, manifest.source, manifest.hours_us)


def test_offsets_go_on_where_the_last_slice_ended(tmp_path: Path) -> None:
    """The next offset of each topic partition is that of its newest slice."""
    land(tmp_path, [gpu_power(), gpu_power()])
    land(tmp_path, [token_counters()], topic="token-counters")
    land(tmp_path, [gpu_power()])

    assert {("gpu-power", 0): 3, ("token-counters", 0): 1} == stored_offsets(tmp_path)


def test_files_are_chosen_by_the_hours_of_their_table(tmp_path: Path) -> None:
    """A slice is left out where the table asked for has no row in the hours asked for."""
    first = land(tmp_path, [gpu_power(at_us=START_US), token_counters(at_us=START_US + HOUR_US)])
    second = land(tmp_path, [gpu_power(at_us=START_US + HOUR_US)])
    manifests = list_slices(tmp_path)

    assert [second.path / "gpu_samples.parquet"] == files_for(manifests, "gpu_samples", [START_US + HOUR_US])
    assert [first.path / "token_samples.parquet"] == files_for(manifests, "token_samples", {START_US + HOUR_US})
    assert [] == files_for(manifests, "host_samples")
    assert 2 == len(files_for(manifests, "gpu_samples"))


def test_a_directory_that_is_not_whole_counts_for_nothing(tmp_path: Path) -> None:
    """What a crash left under a temporary name, or uncommitted by a rewrite, is not listed."""
    land(tmp_path, [gpu_power()])
    (tmp_path / "slices" / ".tmp-s-1").mkdir()
    (tmp_path / "slices" / "m-1").mkdir()
    (tmp_path / "sealed" / "h-1").mkdir(parents=True)

    assert [0, 0] == offsets_landed(tmp_path)


def test_a_dead_slice_counts_for_nothing_and_its_offsets_stay(tmp_path: Path) -> None:
    """A directory that the catalogue calls dead is passed over; the catalogue's heads say how far was read."""
    manifest = land(tmp_path, [gpu_power()])
    head = Head(topic="gpu-power", partition=0, topic_id=None, next_offset=1, landed_at_us=manifest.created_at_us)
    dead = Dead(path=f"slices/{manifest.name}", since_us=0)
    write_catalogue(tmp_path, Catalogue(heads=(head,), dead=(dead,)))

    assert ([], {("gpu-power", 0): 1}) == (list_slices(tmp_path), stored_offsets(tmp_path))


def test_the_newest_slice_decides_where_to_go_on() -> None:
    """A topic that was made anew starts at 0 again, so the largest offset is not the right one."""
    old = Head(topic="t", partition=0, topic_id="a", next_offset=900, landed_at_us=1)
    new = Head(topic="t", partition=0, topic_id="b", next_offset=3, landed_at_us=2)

    assert {("t", 0): new} == newest_heads([new, old], []) == newest_heads([old, new], [])


def test_a_clock_that_falls_back_does_not_take_offsets_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice counts as later than the one before it, whatever the wall clock says."""
    land(tmp_path, [gpu_power()])
    monkeypatch.setattr("tokenmill_pipeline.landing_write.now_us", lambda: 1)
    land(tmp_path, [gpu_power()])

    assert {("gpu-power", 0): 2} == stored_offsets(tmp_path)


def test_a_rewrite_is_seen_if_all_that_it_replaces_was(tmp_path: Path) -> None:
    """Rows that a reader has seen are not new because they lie elsewhere; one unseen source makes the whole new."""
    known = land(tmp_path, [gpu_power()])
    merged = dataclasses.replace(known, name="m-1", replaces=("s-1", "s-2"))

    assert [] == unseen([known, merged], {known.name, "s-1", "s-2"})
    assert [merged] == unseen([known, merged], [known.name, "s-1"])
    assert [known, merged] == unseen([known, merged], [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is damaged"),
        ('{"version": 2}', "format version 2, this tokenmill knows 1"),
        ('{"version": 1, "heads": 7}', "is damaged"),
    ],
)
def test_a_catalogue_that_cannot_be_read_is_named(tmp_path: Path, content: str, words: str) -> None:
    """Going on without the catalogue would count rows twice, so it stops in one clear line."""
    (tmp_path / "heads.json").write_text(content)

    with pytest.raises(TokenmillError, match=words) as caught:
        read_catalogue(tmp_path)
    assert str(tmp_path / "heads.json") in str(caught.value)


def test_a_slice_that_lost_its_manifest_is_named(tmp_path: Path) -> None:
    """A landing that somebody tidied by hand stops in one clear line, with the path."""
    manifest = land(tmp_path, [gpu_power()])
    (manifest.path / "slice.json").rename(tmp_path / "elsewhere.json")

    with pytest.raises(TokenmillError, match=r"cannot read .*slice\.json: No such file"):
        _ = manifest.nodes


def test_an_hour_starts_at_its_first_microsecond() -> None:
    """Times round down to the hour."""
    assert [START_US, START_US, START_US + HOUR_US] == [
        hour_of(time_us) for time_us in (START_US, START_US + HOUR_US - 1, START_US + HOUR_US)
    ]


def test_a_slice_without_rows_still_moves_the_offsets(tmp_path: Path) -> None:
    """Messages that held nothing are read once."""
    land(tmp_path, [gpu_power(gpus=0)])
    (manifest,) = list_slices(tmp_path)

    expected = OffsetRange(topic="gpu-power", partition=0, topic_id="id", first_offset=0, next_offset=1)
    assert (expected,) == manifest.offsets
    assert {"messages": 1} == manifest.rows


def test_landed_files_can_be_read_by_anything_that_reads_parquet(tmp_path: Path) -> None:
    """Columns come back under the names of the landing schema."""
    land(tmp_path, [gpu_power()])
    (file,) = files_for(list_slices(tmp_path), "gpu_samples")

    assert [0, 1] == pl.read_parquet(file)["energy_counter_millijoules"].to_list()
