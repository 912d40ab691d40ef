"""`tokenmill doctor` and what it finds."""

from pathlib import Path

import pytest

from tests.pipelines.commands.conftest import Tokenmill
from tokenmill_pipeline.cli import main


def values(rows: list[dict[str, object]]) -> dict[tuple[object, object], object]:
    """Return what was found by area and thing."""
    return {(row["area"], row["what"]): row["value"] for row in rows}


def test_what_landed_is_counted(tokenmill: Tokenmill) -> None:
    """Rows in the landing, the writer lock and the last published hour are told."""
    found = values(tokenmill("doctor"))

    assert found["landing", "refused messages"] == 0
    assert found["warehouse", "writer lock"] == "free"
    assert isinstance(found["landing", "gpu_samples rows"], int)
    assert ("published", "last hour") in found


def test_a_directory_in_which_nothing_ever_was_is_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong --data-dir is noticed, with the remedy, and ends with exit code 1."""
    code = main(["--data-dir", str(tmp_path), "doctor"])

    assert 1 == code
    assert "nothing was ever ingested here" in capsys.readouterr().out


def test_refused_messages_are_told_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ingest set aside is shown."""
    lines = tmp_path / "bad.jsonl"
    lines.write_text('{"schema_version": 999}\nno json\n', encoding="utf-8")
    main(["--data-dir", str(tmp_path), "ingest", "--file", str(lines)])
    capsys.readouterr()
    main(["--data-dir", str(tmp_path), "doctor"])

    assert "refused messages: " in capsys.readouterr().out


def test_a_broker_that_does_not_answer_is_bad(tokenmill: Tokenmill, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --lag the broker is asked; where none answers, that is a finding and not the end of the others."""
    monkeypatch.setenv("TOKENMILL_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    rows = tokenmill("doctor", "--lag", code=1)

    assert "bad" == rows[-1]["verdict"]
    assert "no broker answers at 127.0.0.1:1" in str(rows[-1]["remedy"])
