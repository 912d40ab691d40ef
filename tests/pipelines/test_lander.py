"""Tests of tokenmill_pipeline.lander."""

from pathlib import Path

import polars as pl

from tests.landed import offsets_landed
from tests.wire_messages import gpu_power, raw, token_counters
from tokenmill_agent.wire import Message
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.lander import Gap, Lander
from tokenmill_pipeline.landing import Catalogue, HourRange, OffsetRange, files_for, list_slices, stored_offsets
from tokenmill_pipeline.landing_write import write_catalogue

HUGE = IngestSettings(slice_seconds=1e9)


def read_to(offset: int, first: int = 0) -> list[OffsetRange]:
    """Return that partition 0 was read so far."""
    return [OffsetRange(topic="gpu-power", partition=0, topic_id=None, first_offset=first, next_offset=offset)]


def test_a_slice_is_due_by_messages_rows_bytes_or_age(tmp_path: Path) -> None:
    """Whichever bound is reached first; none of them at the start."""
    settings = [
        HUGE,
        IngestSettings(slice_seconds=1e9, slice_messages=1),
        IngestSettings(slice_seconds=1e9, slice_rows=2),
        IngestSettings(slice_seconds=1e9, slice_bytes=100),
        IngestSettings(slice_seconds=0.0),
    ]
    landers = [Lander(tmp_path, one, source=None) for one in settings]
    before = [lander.due for lander in landers]
    for lander in landers:
        lander.add(raw(gpu_power()))

    assert [False, False, False, False, True] == before
    assert [False, True, True, True, True] == [lander.due for lander in landers]


def test_the_report_counts_what_landed(tmp_path: Path) -> None:
    """Samples, messages, slices and refusals, only once they are in the landing."""
    lander = Lander(tmp_path, HUGE, source="cluster")
    messages: tuple[Message | bytes, ...] = (gpu_power(), token_counters(), b"nonsense")
    for offset, message in enumerate(messages):
        lander.add(raw(message, offset))
    before = lander.report()
    lander.cut(read_to(3))
    after = lander.report(lag_messages=5)

    assert (0, 0) == (before.messages, before.slices)
    assert (3, 3, 1, {"not_json": 1}, 5) == (
        after.messages,
        after.rows,
        after.slices,
        after.rejected,
        after.lag_messages,
    )
    assert ["cluster"] == [manifest.source for manifest in list_slices(tmp_path)]


def test_without_progress_there_is_no_slice(tmp_path: Path) -> None:
    """A quiet topic does not fill the disk with empty slices."""
    Lander(tmp_path, HUGE, source=None).cut(read_to(7, first=7))

    assert [] == list_slices(tmp_path)


def test_a_gap_is_landed_even_if_nothing_came_after_it(tmp_path: Path) -> None:
    """What was lost is told in the report and in the landing, and not told again by the next run."""
    gap = Gap(topic="gpu-power", partition=0, stored_offset=3, continued_at=9, reason="6 messages were deleted")
    lander = Lander(tmp_path, HUGE, source=None)
    lander.note_gap(gap)
    lander.cut(read_to(9, first=9))
    (file,) = files_for(list_slices(tmp_path), "rejected_messages")

    assert ((gap,), {("gpu-power", 0): 9}) == (lander.report().gaps, stored_offsets(tmp_path))
    assert [(3, "lost_before_read", "6 messages were deleted; went on at offset 9")] == pl.read_parquet(file).select(
        "offset", "reason", "detail"
    ).rows()


def test_rows_of_hours_that_retention_deleted_are_set_aside(tmp_path: Path) -> None:
    """The catalogue says which hours are gone; it is asked at every slice."""
    lander = Lander(tmp_path, HUGE, source=None)
    lander.add(raw(gpu_power()))
    at_us = gpu_power().sent_at_us
    write_catalogue(tmp_path, Catalogue(retired=(HourRange(first_us=at_us, end_us=at_us + 1),)))
    lander.cut(read_to(1))

    assert {"too_late"} == set(lander.report().rejected)
    assert [] == offsets_landed(tmp_path)
