"""`tokenmill billing load`."""

from pathlib import Path

import pytest

from tests.pipelines.commands.conftest import Tokenmill
from tokenmill_pipeline.cli import main
from tokenmill_pipeline.demo.plan import Plan


def test_the_same_bill_twice_changes_nothing(tokenmill: Tokenmill, plan: Plan) -> None:
    """A file whose content is loaded already is left alone, and that is said."""
    bill = next(plan.inbox_dir.glob("*.csv"))
    report = tokenmill("billing", "load", str(bill))

    assert report["changed"] is False
    assert "is loaded already" in report["notes"][0]


def test_without_a_path_the_inbox_is_loaded(
    data_dir: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scheduled flow and the command without a path do the same."""
    monkeypatch.setenv("TOKENMILL_BILLING_INBOX_DIR", str(plan.inbox_dir))
    capsys.readouterr()
    code = main(["--data-dir", str(data_dir), "billing", "load"])

    assert 0 == code
    assert "neocloud-simulated.toml" in capsys.readouterr().out


def test_a_file_of_no_known_shape_is_refused(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no bill is one line with the file's name, and exit code 2."""
    path = tmp_path / "letters.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    code = main(["--data-dir", str(data_dir), "billing", "load", str(path)])

    assert 2 == code
    assert "letters.csv" in capsys.readouterr().err
