"""How a bill is loaded: flags, and the file beside the parts of a bill that comes every day."""

from pathlib import Path

import pytest

from tests.pipelines.billing.bills import run, usage, write_bill
from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.billing.options import LoadOptions, read_options


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    """What a flag does not say, the file does."""
    (tmp_path / "load.toml").write_text('account = "file"\ncurrency = "EUR"\nclosed = true\n', encoding="utf-8")

    merged = LoadOptions(account="flag", delivery="append").over(read_options(tmp_path))

    assert LoadOptions(account="flag", currency="EUR", delivery="append", is_closed=True) == merged


def test_a_directory_that_replaces_says_so_itself(tmp_path: Path) -> None:
    """So that the scheduled flow can load an export that is written anew every day."""
    parts = tmp_path / "export"
    parts.mkdir()
    (parts / "load.toml").write_text('delivery = "replace"\n', encoding="utf-8")
    write_bill(parts / "part.csv", [usage(0)])
    run(tmp_path, parts, LoadOptions())
    write_bill(parts / "part.csv", [usage(0), usage(1)])

    report = run(tmp_path, parts, LoadOptions())

    assert ("replace", 1, ()) == (report.deliveries[0].delivery_mode, len(report.superseded), report.notes)


def test_without_a_file_there_are_no_options(tmp_path: Path) -> None:
    """A plain directory, or a file, needs none."""
    assert LoadOptions() == read_options(tmp_path) == read_options(tmp_path / "bill.csv")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('deliver = "replace"', 'unknown key "deliver", did you mean "delivery"'),
        ('delivery = "overwrite"', 'delivery = "overwrite" must be "append" or "replace"'),
        ("delivery", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """With the key or value that is wrong."""
    (tmp_path / "load.toml").write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match=sentence):
        read_options(tmp_path)
