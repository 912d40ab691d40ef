"""Tests of tokenmill_pipeline.ingest_file."""

from pathlib import Path

import polars as pl
import pytest

from tests.landed import offsets_landed
from tests.wire_messages import START_US, gpu_power, token_counters
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.wire import encode
from tokenmill_pipeline.ingest_file import ingest_file
from tokenmill_pipeline.ingest_settings import IngestSettings, Limits
from tokenmill_pipeline.lander import IngestReport
from tokenmill_pipeline.landing import files_for, list_slices, stored_offsets

SETTINGS = IngestSettings()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of four messages, one of them bad, an empty line between them."""
    path = tmp_path / "messages.jsonl"
    lines = [
        encode(gpu_power(gpus=1)),
        b"nonsense",
        b"",
        encode(token_counters()),
        encode(gpu_power(gpus=1, sequence=1)),
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_each_line_is_a_message_and_its_number_the_offset(tmp_path: Path, file: Path) -> None:
    """Good lines land, a bad one is set aside with its line, an empty one is nothing."""
    report = ingest_file(tmp_path / "landing", file, SETTINGS)

    assert (4, 3, {"not_json": 1}) == (report.messages, report.rows, report.rejected)
    assert [0, 4] == offsets_landed(tmp_path / "landing")
    assert [1] == offsets_landed(tmp_path / "landing", "rejected_messages")


def test_rows_of_a_file_say_so(tmp_path: Path, file: Path) -> None:
    """Build must not take a file's append time for a live one."""
    ingest_file(tmp_path / "landing", file, SETTINGS)
    (messages,) = files_for(list_slices(tmp_path / "landing"), "messages")

    assert {("file", True)} == set(
        pl.read_parquet(messages).select("delivery", pl.col("topic").str.starts_with("file:")).rows()
    )


def test_the_same_content_again_lands_nothing(tmp_path: Path, file: Path) -> None:
    """A file is known by its digest, whatever its name."""
    ingest_file(tmp_path / "landing", file, SETTINGS)
    report = ingest_file(tmp_path / "landing", file.rename(tmp_path / "other.jsonl"), SETTINGS)

    assert (0, 0) == (report.messages, report.slices)
    assert [0, 4] == offsets_landed(tmp_path / "landing")


def test_a_run_that_was_broken_off_goes_on_at_its_line(tmp_path: Path, file: Path) -> None:
    """Rows and progress commit together, so a second run lands the rest and nothing twice."""

    def break_off(report: IngestReport) -> None:
        if report.slices == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_file(tmp_path / "landing", file, IngestSettings(slice_messages=1), on_progress=break_off)
    assert [2] == list(stored_offsets(tmp_path / "landing").values())

    report = ingest_file(tmp_path / "landing", file, SETTINGS)
    assert 2 == report.messages
    assert [0, 4] == offsets_landed(tmp_path / "landing")


def test_a_line_over_the_limit_is_set_aside_and_the_next_one_lands(tmp_path: Path, file: Path) -> None:
    """A giant line is passed over without being held in memory."""
    file.write_bytes(b"x" * 3_000_000 + b"\n" + encode(gpu_power(gpus=1)))
    report = ingest_file(tmp_path / "landing", file, IngestSettings(limits=Limits(message_bytes_max=10_000)))

    assert ({"too_large": 1}, [1]) == (report.rejected, offsets_landed(tmp_path / "landing"))


def test_a_history_of_months_ago_lands(tmp_path: Path, file: Path) -> None:
    """Files are exempt from the bound on a sample's age."""
    old = [encode(gpu_power(gpus=1, at_us=START_US - days * 24 * 3_600_000_000)) for days in (400, 100)]
    file.write_bytes(b"\n".join(old))
    report = ingest_file(tmp_path / "landing", file, SETTINGS)

    assert (2, {}) == (report.rows, report.rejected)


@pytest.mark.parametrize(("name", "words"), [("none.jsonl", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, words: str) -> None:
    """One line with the path and what the system says."""
    with pytest.raises(UsageError, match=words):
        ingest_file(tmp_path / "landing", tmp_path / name, SETTINGS)


def test_two_processes_do_not_ingest_one_file_at_once(tmp_path: Path, file: Path) -> None:
    """The second one is told to wait; it would land the same rows."""

    def again(_report: IngestReport) -> None:
        with pytest.raises(TokenmillError, match="is being ingested by another process"):
            ingest_file(tmp_path / "landing", file, SETTINGS)

    assert 3 == ingest_file(tmp_path / "landing", file, SETTINGS, on_progress=again).rows
