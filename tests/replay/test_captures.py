"""Tests of reading a directory of captures."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.replay.captures import Capture, CaptureError, read_capture


def line(at_us: int, output: int | None, *, target: str = "server", start: float | None = None) -> dict[str, Any]:
    """Return a record; output None is a closed port."""
    text = f"vllm:generation_tokens_total {output}\n" if output is not None else None
    if start is not None and text is not None:
        text = f"process_start_time_seconds {start}\n{text}"
    return {
        "scraped_at_us": at_us,
        "target": target,
        "url_path": "/metrics",
        "status": 200 if output is not None else 0,
        "content_type": "text/plain" if output is not None else None,
        "text": text,
    }


def capture(folder: Path, *records: dict[str, Any]) -> Capture:
    """Write and read a capture."""
    (folder / "capture.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    truth = {"engine": "vllm", "counters_at_the_end_of_each_process_life": {}}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return read_capture(folder)


@pytest.mark.parametrize(
    ("records", "lives"),
    [
        ([line(1, 5), line(2, 6)], [0, 0]),
        ([line(1, 5), line(2, None), line(3, 6)], [0, 0, 1]),
        ([line(1, None), line(2, 6)], [0, 0]),
        ([line(1, 5), line(2, 4)], [0, 1]),
        ([line(1, 5, start=10.0), line(2, 6, start=20.0)], [0, 1]),
    ],
)
def test_lives_of_a_process(tmp_path: Path, records: list[dict[str, Any]], lives: list[int]) -> None:
    """A closed port, a counter that falls or another start begins another life."""
    assert lives == [page.life for page in capture(tmp_path, *records).pages["server"]]


def test_rounds_hold_each_target_once(tmp_path: Path) -> None:
    """What was scraped in one sweep stays together, in order of time."""
    records = [line(1, 1), line(2, 1, target="worker"), line(10, 2), line(11, 2, target="worker"), line(20, 3)]

    rounds = list(capture(tmp_path, *records).rounds())

    assert [{"server": 1, "worker": 2}, {"server": 10, "worker": 11}, {"server": 20}] == [
        {target: page.at_us for target, page in pages.items()} for pages in rounds
    ]


@pytest.mark.parametrize(("text", "words"), [(None, "cannot read"), ("{", "is not JSON"), ("[]", "expected an object")])
def test_a_directory_that_is_no_capture(tmp_path: Path, text: str | None, words: str) -> None:
    """The message names the file and what is wrong with it."""
    if text is not None:
        (tmp_path / "capture.jsonl").write_text(text, encoding="utf-8")

    with pytest.raises(CaptureError, match=f"capture.jsonl.*{words}|{words}.*capture.jsonl"):
        read_capture(tmp_path)
