"""Deliveries: what a load becomes, what it replaces, and what is noted on one that is there."""

from datetime import UTC, datetime
from pathlib import Path

from tests.pipelines.billing.bills import FLAGS, NOW, at, in_memory, load_into, run, usage, write_bill
from tokenmill_pipeline.billing import deliveries
from tokenmill_pipeline.billing.load import LoadOptions


def test_a_delivery_says_where_it_came_from(tmp_path: Path) -> None:
    """File, version, mode, period and counts stand in the row."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), usage(1, cost="?")])

    with in_memory() as connection:
        report = load_into(connection, bill, LoadOptions(data_until_at=NOW, is_closed=True))
        stored = deliveries.with_ids(connection, [report.deliveries[0].delivery_id])

    assert [("bill.csv", "1.0", "append", at(2025, 5, 1), at(2025, 6, 1), 1, 1, True, NOW.replace(tzinfo=None))] == [
        (
            d.file_name,
            d.focus_version,
            d.delivery_mode,
            d.billing_period_start_at,
            d.billing_period_end_at,
            d.row_count,
            d.rejected_row_count,
            d.is_closed,
            d.data_until_at,
        )
        for d in stored
    ]


def test_refused_rows_are_counted_where_they_would_have_been(tmp_path: Path) -> None:
    """A refused row of one account does not count against another; one that says nothing counts for the first."""
    lines = [usage(0, account="a"), usage(0, account="b"), usage(1, account="b", cost="?"), "no,row"]

    report = run(tmp_path, write_bill(tmp_path / "bill.csv", lines))

    assert {"a": 1, "b": 1} == {d.account: d.rejected_row_count for d in report.deliveries}


def test_a_file_that_is_brought_back_is_a_new_delivery(tmp_path: Path) -> None:
    """The superseded row stays as history, so the same content gets another id."""
    old = write_bill(tmp_path / "old.csv", [usage(0)])
    replace = LoadOptions(delivery="replace")
    first = run(tmp_path, old, replace)
    run(tmp_path, write_bill(tmp_path / "new.csv", [usage(1)]), replace)

    again = run(tmp_path, old, replace)

    assert first.deliveries[0].delivery_id != again.deliveries[0].delivery_id


def test_replacing_a_month_leaves_the_corrections_of_a_later_invoice(tmp_path: Path) -> None:
    """The key is the billing period, not the charge period: June's corrections of May are June's."""
    correction = usage(0, cost="-1").replace("2025-05-01T00:00:00Z,2025-06-01", "2025-06-01T00:00:00Z,2025-07-01", 1)
    run(tmp_path, write_bill(tmp_path / "may.csv", [usage(0)]))
    run(tmp_path, write_bill(tmp_path / "june.csv", [correction]))

    report = run(tmp_path, write_bill(tmp_path / "may2.csv", [usage(0, cost="2")]), LoadOptions(delivery="replace"))

    assert 1 == len(report.superseded)
    assert report.superseded[0].startswith("2025-05")


def test_noting_the_same_thing_again_changes_nothing(tmp_path: Path) -> None:
    """Only what is new is an update."""
    with in_memory() as connection:
        delivery = load_into(connection, write_bill(tmp_path / "b.csv", [usage(0)]), FLAGS).deliveries[0]
        until = datetime(2025, 5, 2, tzinfo=UTC).replace(tzinfo=None)
        first = deliveries.update(connection, delivery, data_until_at=until, is_closed=False)
        second = deliveries.update(connection, first, data_until_at=until, is_closed=False)

    assert ("updated", "unchanged") == (first.status, second.status)
