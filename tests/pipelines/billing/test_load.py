"""Loading bills: every row is kept or refused, deliveries supersede each other, and the same file twice is harmless."""

import contextlib
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.pipelines.billing.bills import (
    FLAGS,
    NOW,
    at,
    in_memory,
    load_into,
    opened,
    rows,
    run,
    settings,
    usage,
    write_bill,
)
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.billing import load
from tokenmill_pipeline.billing.load import LoadOptions
from tokenmill_pipeline.billing.settings import BillingSettings

CURRENT = "billing.charges semi join (from billing.deliveries where superseded_at is null) using (delivery_id)"


def test_a_file_of_two_providers_and_two_periods_becomes_several_deliveries(tmp_path: Path) -> None:
    """One file is split by provider, account and billing period, and each part knows its own rows."""
    june = usage(1).replace("2025-05-01T00:00:00Z,2025-06-01", "2025-06-01T00:00:00Z,2025-07-01")
    bill = write_bill(
        tmp_path / "bill.csv", [usage(0), usage(1), usage(2, provider="Other"), usage(3, account="second"), june]
    )

    report = run(tmp_path, bill, LoadOptions())

    assert [
        ("Example", "acct", at(2025, 5, 1), 2),
        ("Example", "second", at(2025, 5, 1), 1),
        ("Other", "acct", at(2025, 5, 1), 1),
        ("Example", "acct", at(2025, 6, 1), 1),
    ] == [(d.provider, d.account, d.billing_period_start_at, d.row_count) for d in report.deliveries]
    assert 5 == rows(tmp_path, "select count(*) from billing.charges join billing.deliveries using (delivery_id)")[0][0]


def test_the_same_file_twice_changes_nothing(tmp_path: Path) -> None:
    """A second load of the same content keeps the tables as they are and says so."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), usage(1, cost="free")])
    run(tmp_path, bill)
    before = rows(tmp_path, "from billing.deliveries") + rows(tmp_path, "from billing.rejected_rows")

    again = run(tmp_path, bill.rename(tmp_path / "renamed.csv"))

    assert not again.changed
    assert 0 == again.rows_loaded
    assert ["unchanged"] == [delivery.status for delivery in again.deliveries]
    assert "nothing to do" in again.notes[0]
    assert before == rows(tmp_path, "from billing.deliveries") + rows(tmp_path, "from billing.rejected_rows")


def test_appending_says_that_the_period_had_a_delivery(tmp_path: Path) -> None:
    """Without a flag rows are added, and the reader is told how to replace instead."""
    run(tmp_path, write_bill(tmp_path / "a.csv", [usage(0)]))

    report = run(tmp_path, write_bill(tmp_path / "b.csv", [usage(1)]))

    assert 2 == rows(tmp_path, "select count(*) from billing.deliveries where superseded_at is null")[0][0]
    assert any("--delivery replace" in note for note in report.notes)


def test_totals_of_two_currencies_are_never_one_sum(tmp_path: Path) -> None:
    """Each billing currency has its own."""
    bill = write_bill(tmp_path / "b.csv", [usage(0, cost="2"), usage(1, cost="3").replace("USD", "EUR")])

    report = run(tmp_path, bill)

    assert {"EUR": Decimal(3), "USD": Decimal(2)} == {code: sums["billed_cost"] for code, sums in report.totals.items()}


def test_a_replacing_file_supersedes_only_its_own_key(tmp_path: Path) -> None:
    """Every earlier delivery of the period gives way, also one appended later; other accounts stay current."""
    run(tmp_path, write_bill(tmp_path / "a.csv", [usage(0, cost="10")]))
    run(tmp_path, write_bill(tmp_path / "b.csv", [usage(0, cost="5")]))
    run(tmp_path, write_bill(tmp_path / "c.csv", [usage(0, cost="7", account="second")]))

    report = run(tmp_path, write_bill(tmp_path / "d.csv", [usage(0, cost="11")]), LoadOptions(delivery="replace"))

    assert 2 == len(report.superseded)
    assert [("acct", Decimal(11)), ("second", Decimal(7))] == rows(
        tmp_path,
        f"select account, sum(billed_cost) from {CURRENT} group by all order by all",
    )
    superseded_by = rows(
        tmp_path, "select distinct superseded_by from billing.deliveries where superseded_at is not null"
    )
    assert [(report.deliveries[0].delivery_id,)] == superseded_by


def test_a_replaced_file_is_not_added_again_by_itself_but_can_be_brought_back(tmp_path: Path) -> None:
    """Loading an old file once more cannot double the money; --delivery replace makes it current again."""
    old = write_bill(tmp_path / "old.csv", [usage(0, cost="10")])
    run(tmp_path, old)
    run(tmp_path, write_bill(tmp_path / "new.csv", [usage(0, cost="12")]), LoadOptions(delivery="replace"))

    appended = run(tmp_path, old)
    assert not appended.changed
    assert "has been replaced since" in appended.notes[0]
    restored = run(tmp_path, old, LoadOptions(delivery="replace"))

    assert restored.changed
    assert [(Decimal(10),)] == _current_cost(tmp_path)


def _current_cost(tmp_path: Path) -> list[tuple[Any, ...]]:
    return rows(tmp_path, f"select sum(billed_cost) from {CURRENT}")


def test_the_parts_of_a_directory_are_one_bill(tmp_path: Path) -> None:
    """Parts do not replace each other, a part that is there already is left alone, and other files are named."""
    parts = tmp_path / "parts"
    parts.mkdir()
    write_bill(parts / "part-1.csv", [usage(0, cost="1")])
    write_bill(parts / "part-2.csv", [usage(1, cost="2")])
    (parts / "manifest.json").write_text("{}", encoding="utf-8")
    replace = LoadOptions(delivery="replace")
    first = run(tmp_path, parts, replace)
    write_bill(parts / "part-2.csv", [usage(1, cost="3")])

    second = run(tmp_path, parts, replace)

    assert (2, 1) == (first.rows_loaded, second.rows_loaded)
    assert any("manifest.json" in note for note in first.notes)
    assert 1 == len(second.superseded)
    assert [(Decimal(4),)] == _current_cost(tmp_path)


def test_the_same_part_under_two_names_is_refused(tmp_path: Path) -> None:
    """Two files of one content in a directory would count twice."""
    parts = tmp_path / "parts"
    parts.mkdir()
    write_bill(parts / "part-1.csv", [usage(0)])
    write_bill(parts / "copy.csv", [usage(0)])

    with pytest.raises(UsageError, match="are the same file"):
        run(tmp_path, parts)


@pytest.mark.parametrize(
    ("column", "flag"),
    [("BillingCurrency", "--currency"), ("BillingAccountId", "--account"), ("ProviderName", "--provider")],
)
def test_what_a_file_lacks_must_be_said(tmp_path: Path, column: str, flag: str) -> None:
    """A bill without currency, account or provider is refused with the flag that supplies it."""
    names = "BillingAccountId,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,ProviderName"
    values = "acct,USD,2025-05-01T00:00:00Z,2025-05-01T01:00:00Z,Usage,1,Example"
    kept = [index for index, name in enumerate(names.split(",")) if name != column]
    bill = write_bill(
        tmp_path / "bill.csv",
        [",".join(values.split(",")[index] for index in kept)],
        header=",".join(names.split(",")[index] for index in kept),
    )

    with pytest.raises(UsageError, match=rf"bill\.csv has no column {column}.*say {flag}"):
        run(tmp_path, bill, LoadOptions())

    assert run(tmp_path, bill, FLAGS).changed


def test_flags_fill_only_what_is_missing(tmp_path: Path) -> None:
    """A flag never overrules the file, and a row that it filled is flagged."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), usage(1).replace("acct,USD", ",USD")])

    run(tmp_path, bill, LoadOptions(account="fallback", currency="EUR", provider="Else"))

    assert [("acct", "USD", "Example", []), ("fallback", "USD", "Example", ["account_assumed"])] == rows(
        tmp_path, "select account, billing_currency, provider, flags from billing.charges order by row_number"
    )


def test_loading_under_other_flags_needs_replace(tmp_path: Path) -> None:
    """A file loaded under the wrong account would count twice; replacing moves it."""
    bill = write_bill(
        tmp_path / "bill.csv",
        ["USD,2025-05-01T00:00:00Z,2025-05-01T01:00:00Z,Usage,1,1,Example"],
        header="BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ProviderName",
    )
    run(tmp_path, bill, LoadOptions(account="wrong"))

    with pytest.raises(UsageError, match=r"loaded before under other flags \(account wrong\)"):
        run(tmp_path, bill, LoadOptions(account="right"))
    run(tmp_path, bill, LoadOptions(account="right", delivery="replace"))

    assert [("right", None), ("wrong", NOW.replace(tzinfo=None))] == rows(
        tmp_path, "select account, superseded_at from billing.deliveries order by account"
    )


def test_a_period_can_be_closed_later(tmp_path: Path) -> None:
    """The same file with --closed adds no row; it closes the period and marks its hours."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0)])
    run(tmp_path, bill)
    with opened(tmp_path) as connection:
        connection.execute("delete from ops.dirty_hours")

    report = run(tmp_path, bill, LoadOptions(is_closed=True))

    assert ["updated"] == [delivery.status for delivery in report.deliveries]
    assert [(True, 1)] == rows(tmp_path, "select is_closed, row_count from billing.deliveries")
    assert 1 == report.hours_marked


def test_data_until_is_where_metered_rows_end_and_never_ahead_of_now(tmp_path: Path) -> None:
    """Purchases do not say how far a bill reaches; a month that is not over reaches until now."""
    purchase = usage(0).replace("Usage", "Purchase").replace("2025-05-01T01:00:00Z", "2026-05-01T00:00:00Z")
    run(tmp_path, write_bill(tmp_path / "a.csv", [usage(5), purchase]))
    month = usage(0, account="b").replace("2025-05-01T01:00:00Z", "2025-06-01T00:00:00Z")
    run(tmp_path, write_bill(tmp_path / "b.csv", [month]), now=datetime(2025, 5, 10, 7, tzinfo=UTC))

    run(tmp_path, write_bill(tmp_path / "c.csv", [purchase.replace("acct", "c")]))

    found = dict(rows(tmp_path, "select account, data_until_at from billing.deliveries"))

    assert found["c"] is None
    assert at(2025, 5, 1, 6) == found["acct"]
    assert at(2025, 5, 10, 7) == found["b"]


def test_effective_cost_of_zero_throughout_is_not_the_numerator(tmp_path: Path) -> None:
    """A provider that leaves EffectiveCost at 0 while it bills usage has none."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0, cost="2").replace("2,2,", "2,0,")])

    report = run(tmp_path, bill)

    assert ("billed", "effective_cost_zero where billed_cost is not") == (
        report.deliveries[0].numerator,
        report.deliveries[0].numerator_reason,
    )


def test_missing_effective_cost_falls_back_with_the_count(tmp_path: Path) -> None:
    """One row without EffectiveCost would leave a hole in the money, so the whole file is read by BilledCost."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), usage(1).replace("1.00,1.00,", "1.00,NULL,")])

    report = run(tmp_path, bill)

    assert "effective_cost_missing (1 of 2 rows)" == report.deliveries[0].numerator_reason


def test_hours_of_new_and_of_replaced_charges_are_marked(tmp_path: Path) -> None:
    """A replacement re-opens the hours it fills and those that it leaves empty."""
    run(tmp_path, write_bill(tmp_path / "a.csv", [usage(0), usage(5)]))
    with opened(tmp_path) as connection:
        connection.execute("delete from ops.dirty_hours")

    run(tmp_path, write_bill(tmp_path / "b.csv", [usage(0), usage(7)]), LoadOptions(delivery="replace"))

    assert [(at(2025, 5, 1, hour), "billing") for hour in (0, 5, 7)] == rows(
        tmp_path, "select hour_at, cause from ops.dirty_hours order by all"
    )


def test_a_load_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops a load in the middle, neither rows nor marks of it stay."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0)])

    def fail(*_arguments: object, **_options: object) -> int:
        raise RuntimeError("power cut")

    monkeypatch.setattr("tokenmill_pipeline.billing.marking.mark_deliveries", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path, bill)
    monkeypatch.undo()

    assert (
        0
        == rows(tmp_path, "select (select count(*) from billing.charges) + (select count(*) from billing.deliveries)")[
            0
        ][0]
    )
    assert run(tmp_path, bill).changed


def test_loading_anew_in_the_same_order_gives_the_same_ids(tmp_path: Path) -> None:
    """A warehouse built from scratch names its deliveries as the first one did."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), usage(0, account="b")])

    ids = [[d.delivery_id for d in run(tmp_path / name, bill).deliveries] for name in ("one", "two")]

    assert ids[0] == ids[1]
    assert all(delivery_id.startswith("2025-05-") for delivery_id in ids[0])


def test_the_inbox_loads_what_is_new(tmp_path: Path) -> None:
    """Bills, directories of parts and price files in the inbox are loaded once."""
    inbox = tmp_path / "inbox"
    (inbox / "export").mkdir(parents=True)
    write_bill(inbox / "bill.csv", [usage(0)])
    write_bill(inbox / "export" / "part.csv", [usage(1)])
    (inbox / "rates.toml").write_text(
        '[[pue]]\nregion = "eu"\npue = 1.2\nvalid_from = 2025-01-01\nsource = "audit"\n', encoding="utf-8"
    )
    billing = BillingSettings(inbox_dir=inbox)

    first = load.load_inbox(settings(tmp_path), billing, now=NOW)
    second = load.load_inbox(settings(tmp_path), billing, now=NOW)

    assert [("bill", True), ("bill", True), ("prices", True)] == [(report.kind, report.changed) for report in first]
    assert [False, False, False] == [report.changed for report in second]


def test_without_an_inbox_the_setting_is_named(tmp_path: Path) -> None:
    """The flow's error says which key to set."""
    with pytest.raises(UsageError, match="inbox_dir is not set"):
        load.load_inbox(settings(tmp_path), BillingSettings(), now=NOW)


def test_what_is_wrong_in_the_inbox_stops_nothing_else(tmp_path: Path) -> None:
    """The rest is loaded, then the misfits are named."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.csv").write_text("no,bill\n", encoding="utf-8")
    write_bill(inbox / "b.csv", [usage(0)])

    with pytest.raises(UsageError, match=r"1 of 2 could not be loaded: .*a\.csv"):
        load.load_inbox(settings(tmp_path), BillingSettings(inbox_dir=inbox), now=NOW)

    assert 1 == rows(tmp_path, "select count(*) from billing.charges")[0][0]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database cannot write is told with the file and the place."""

    def full(*_arguments: object, **_options: object) -> int:
        raise duckdb.IOException("Could not write file: No space left on device")

    monkeypatch.setattr("tokenmill_pipeline.billing.marking.mark_deliveries", full)
    with pytest.raises(TokenmillError, match=r"bill\.csv could not be stored in .*warehouse\.duckdb: .*No space left"):
        run(tmp_path, write_bill(tmp_path / "bill.csv", [usage(0)]))
    monkeypatch.undo()

    assert 0 == rows(tmp_path, "select count(*) from billing.charges")[0][0]


KILLED_LOAD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.pipelines.billing.bills import run
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_load_that_is_killed_leaves_all_or_nothing(tmp_path: Path) -> None:
    """Killed at several moments, the warehouse holds the whole bill or none of it; the next load finishes the work."""
    lines = [
        usage(hour, day=day, account=f"a{number}") for number in range(40) for day in range(1, 29) for hour in (0, 9)
    ]
    bill = write_bill(tmp_path / "bill.csv", lines)
    command = [sys.executable, "-c", KILLED_LOAD, str(tmp_path), str(bill)]
    for seconds in (0.6, 0.8, 1.0, 1.2):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait()

        assert rows(tmp_path, "select count(*), count(distinct delivery_id) from billing.charges") in (
            [(0, 0)],
            [(len(lines), 40)],
        )

    run(tmp_path, bill)

    assert [(len(lines), 40)] == rows(tmp_path, "select count(*), count(distinct delivery_id) from billing.charges")


DEFECTS = st.sampled_from(
    [
        ("ok", lambda line: line),
        ("time", lambda line: line.replace("T01:00", "T31:00")),
        ("category", lambda line: line.replace("Usage", "Fee")),
        ("account", lambda line: line.replace("acct,", "NULL,", 1)),
        ("column", lambda line: line + ",more"),
        ("period", lambda line: line.replace("2025-06-01T00:00:00Z", "2025-04-01")),
    ]
)


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.decimals(-(10**9), 10**9, places=12), DEFECTS), min_size=1, max_size=12))
def test_rows_in_are_rows_loaded_and_set_aside(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[Decimal, tuple[str, Any]]]
) -> None:
    """Whatever is wrong with a row, it is counted once, and the money of all that could be read adds up exactly."""
    lines = [spoil(usage(0, cost=f"{cost:f}")) for cost, (_, spoil) in table]
    bill = write_bill(tmp_path_factory.mktemp("bill") / "bill.csv", lines)

    with in_memory() as connection:
        report = load_into(connection, bill, LoadOptions())

    billed = [sums["billed_cost"] for part in (report.totals, report.totals_set_aside) for sums in part.values()]
    assert len(table) == report.rows_loaded + report.rows_set_aside
    assert sum(1 for _, (defect, _) in table if defect == "ok") == report.rows_loaded
    assert sum(cost for cost, (defect, _) in table if defect != "column") == sum(billed, Decimal())
