"""What a person reads after a load: exact sums, one row per delivery, nothing that is empty."""

from pathlib import Path

from tests.pipelines.billing.bills import run, usage, write_bill
from tokenmill_pipeline.billing import summary
from tokenmill_pipeline.billing.load import LoadOptions


def test_sums_are_exact_and_say_what_was_set_aside(tmp_path: Path) -> None:
    """Also the money of rows that were refused."""
    impossible = usage(1, cost="0.10").replace("T02:00", "T30:00")

    found = summary.facts(run(tmp_path, write_bill(tmp_path / "b.csv", [usage(0, cost="1234.000000001"), impossible])))

    assert "1234.000000001 (and 0.1 set aside)" == found["billed_cost USD"]
    assert (1, 1, 1) == (found["rows_loaded"], found["rows_set_aside"], found["set aside: time_impossible"])
    assert "superseded" not in found


def test_each_delivery_is_one_row(tmp_path: Path) -> None:
    """Under the names of the columns."""
    report = run(tmp_path, write_bill(tmp_path / "b.csv", [usage(0), usage(0, account="b")]), LoadOptions())

    rows = [dict(zip(summary.DELIVERY_NAMES, row, strict=True)) for row in summary.delivery_rows(report)]

    assert [("loaded", "acct", 1), ("loaded", "b", 1)] == [(row["status"], row["account"], row["rows"]) for row in rows]
    assert "2025-05-01 to 2025-06-01" == rows[0]["billing period"]


def test_a_price_file_says_what_it_changed(tmp_path: Path) -> None:
    """By table, without rows of a bill."""
    path = tmp_path / "p.toml"
    path.write_text('[[pue]]\nregion = "eu"\npue = 1.2\nvalid_from = 2025-01-01\nsource = "audit"\n', encoding="utf-8")

    assert {"changed": True, "changed in reference.prices": 1, "hours_marked": 0} == summary.facts(run(tmp_path, path))
