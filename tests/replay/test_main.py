"""Tests of the whole command: captures through agent, Kafka, ingest and build to the published mart."""

import json
from pathlib import Path

import pytest

from tests.kafka_broker import KafkaBroker
from tests.replay.__main__ import main

CAPTURES = Path(__file__).parents[3] / "shared" / "data" / "captures"
COUNTED = sorted(path.parent for path in CAPTURES.glob("*/capture.jsonl"))


def made_up(folder: Path, *, increase: int) -> Path:
    """Write a capture of a vLLM that counts 70 tokens of output, restarts and counts 30 more, with this truth."""
    folder.mkdir()
    records = [
        {
            "scraped_at_us": 1_795_493_000_000_000 + second * 1_000_000,
            "target": "server",
            "url_path": "/metrics",
            "status": 0 if output is None else 200,
            "content_type": None if output is None else "text/plain",
            "text": None if output is None else f'vllm:generation_tokens_total{{engine="0"}} {output}\n',
        }
        for second, output in enumerate((100, 170, None, 10, 30))
    ]
    (folder / "capture.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    counted = {"server": {"vllm:generation_tokens_total": {"increase_seen_by_scraping": increase}}}
    truth = {"engine": "vllm", "counters_at_the_end_of_each_process_life": counted}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return folder


@pytest.mark.kafka
@pytest.mark.skipif(not COUNTED, reason="the captures are not beside this checkout")
def test_real_captures_through_kafka(kafka: KafkaBroker, capsys: pytest.CaptureFixture[str]) -> None:
    """Every token that real servers showed on their pages is in the published mart, once."""
    status = main([*map(str, COUNTED), "--kafka", kafka.bootstrap])

    assert f"{len(COUNTED)} passed, 0 failed" == capsys.readouterr().out.splitlines()[-1]
    assert 0 == status


@pytest.mark.parametrize(
    ("increase", "status", "last"), [(100, 0, "1 passed, 0 failed"), (101, 1, "0 passed, 1 failed")]
)
def test_a_difference_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], increase: int, status: int, last: str
) -> None:
    """A restart counts from zero; one token too few or too many ends with status 1."""
    folder = made_up(tmp_path / "capture", increase=increase)

    assert status == main([str(folder), "--file"])
    assert last == capsys.readouterr().out.splitlines()[-1]


def test_no_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that is no capture gives one line that names the missing file."""
    assert 1 == main([str(tmp_path), "--file"])
    assert f"error: cannot read {tmp_path / 'capture.jsonl'}" in capsys.readouterr().err
