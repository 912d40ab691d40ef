"""`tokenmill demo` as a command; what it does is tested beside the demo itself."""

from pathlib import Path

import pytest

from tokenmill_pipeline import cli


def test_a_directory_that_no_demo_has_made_is_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo never deletes what is not its own: wrong usage, one line, and the file is still there."""
    kept = tmp_path / "precious.txt"
    kept.write_text("mine", encoding="utf-8")

    assert 2 == cli.main(["--data-dir", str(tmp_path), "demo", "--no-flows"])
    assert "holds what no demo has made" in capsys.readouterr().err
    assert "mine" == kept.read_text(encoding="utf-8")
