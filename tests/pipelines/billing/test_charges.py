"""Turning text into charges: times, exact amounts, flags, and a reason for each row that is refused."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.pipelines.billing.bills import MINIMAL_HEADER, in_memory, load_into, usage, write_bill
from tokenmill_pipeline.billing import charges
from tokenmill_pipeline.billing.load import LoadOptions

NAMES = MINIMAL_HEADER.split(",")


@pytest.fixture(scope="module")
def macros() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a warehouse that has the macros with which a bill is read."""
    with in_memory() as connection:
        charges.prepare(connection)
        yield connection


def _read(connection: duckdb.DuckDBPyConnection, macro: str, text: str | None) -> Any:
    return connection.execute(f"select {macro}($text::varchar)", {"text": text}).fetchall()[0][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-05-01T00:00:00Z", "2025-05-01 00:00:00"),
        ("2025-05-01T00:00Z", "2025-05-01 00:00:00"),
        ("2025-05-01T02:00:00+02:00", "2025-05-01 00:00:00"),
        ("2025-05-01T00:00:00.250z", "2025-05-01 00:00:00.25"),
        ("2025-05-01 00:00:00 UTC", "2025-05-01 00:00:00"),
        ("2024-09-18 23:00:00", "2024-09-18 23:00:00"),
        ("2025-04-01", "2025-04-01 00:00:00"),
        ("5/1/25", "2025-05-01 00:00:00"),
        ("05/01/2025 13:30", "2025-05-01 13:30:00"),
    ],
)
def test_times_are_read_as_providers_write_them(macros: duckdb.DuckDBPyConnection, text: str, expected: str) -> None:
    """ISO with and without a zone, and dates with the month first, become UTC."""
    assert expected == str(_read(macros, "bill_time", text)).replace("+00:00", "").replace("250000", "25")


@pytest.mark.parametrize(
    "text",
    ["2023-02-01T30:00:00Z", "2023-02-30T00:00:00Z", "13/1/25", "2025-05", "now", "infinity", "2025-05-01 (BC)", "1e9"],
)
def test_what_is_no_time_is_not_read_as_one(macros: duckdb.DuckDBPyConnection, text: str) -> None:
    """An impossible hour or day, and words that a database would take for a time, give nothing."""
    assert _read(macros, "bill_time", text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$10,000.00 ", "10000"),
        ("(12.50)", "-12.5"),
        ("-$3.25", "-3.25"),
        ("€1,234,567.89", "1234567.89"),
        ("1e-07", "0.0000001"),
        ("0.00000080000", "0.0000008"),
        ("12345678901234567890.123456789012", "12345678901234567890.123456789012"),
        (".5", "0.5"),
    ],
)
def test_amounts_are_read_as_people_write_them(macros: duckdb.DuckDBPyConnection, text: str, expected: str) -> None:
    """Currency signs, thousands and brackets for a minus are money too, exactly."""
    assert Decimal(expected) == _read(macros, "bill_amount", text)


@pytest.mark.parametrize("text", ["1.234,56", "12 000 USD", "nan", "inf", "0x10", "1,00", "one", "--1", "1e400"])
def test_what_is_no_amount_is_not_read_as_one(macros: duckdb.DuckDBPyConnection, text: str) -> None:
    """A comma for the decimal point would be off by a hundred: such a text gives nothing rather than a guess."""
    assert _read(macros, "bill_amount", text) is None


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.decimals(min_value=-(10**20), max_value=10**20, places=12))
def test_every_amount_of_twelve_places_is_kept_exactly(macros: duckdb.DuckDBPyConnection, amount: Decimal) -> None:
    """No digit is lost on the way, whatever the size, and none is reported as lost."""
    text = f"{amount:f}"

    assert amount == _read(macros, "bill_amount", text)
    assert not _read(macros, "bill_is_rounded", text)


def test_a_digit_beyond_the_twelfth_is_rounded_and_flagged(macros: duckdb.DuckDBPyConnection) -> None:
    """Zeros beyond it say nothing."""
    assert Decimal("0.123456789013") == _read(macros, "bill_amount", "0.1234567890127")
    assert _read(macros, "bill_is_rounded", "0.1234567890127")
    assert not _read(macros, "bill_is_rounded", "2.000000000000000")


@pytest.mark.parametrize("word", ["", " ", "NULL", "null", "(null)", "(NULL)"])
def test_words_for_null_are_no_values(tmp_path: Path, word: str) -> None:
    """A word that means nothing is not stored as text, and never as 0."""
    found = _loaded(
        tmp_path, f"{MINIMAL_HEADER},ListCost,InvoiceId", f'{usage(0)},{word},"{word}"', "list_cost, invoice_id"
    )

    assert [(None, None)] == found


def test_blanks_around_a_value_are_no_part_of_it(tmp_path: Path) -> None:
    """Times, amounts, accounts and allowed values are read without them."""
    line = " acct ,usd ,2025-05-01 , 2025-06-01, 2025-05-01T00:00:00Z,2025-05-01T01:00:00Z , Usage,$1.00 , 1 ,Example"

    found = _loaded(
        tmp_path,
        MINIMAL_HEADER,
        line,
        "account, billing_currency, charge_category, billed_cost::varchar, effective_cost::varchar, "
        "charge_period_end_at::varchar",
    )

    assert [("acct", "USD", "Usage", "1.000000000000", "1.000000000000", "2025-05-01 01:00:00")] == found


def _refused(tmp_path: Path, **changes: str) -> tuple[Any, ...] | None:
    """Return reason and detail of a row in which these columns are changed, or None where it is kept."""
    values = {**dict(zip(NAMES, usage(0).split(","), strict=True)), **changes}
    with in_memory() as connection:
        load_into(connection, write_bill(tmp_path / "bill.csv", [",".join(values.values())]), LoadOptions())
        found = connection.execute("select reason, detail from billing.rejected_rows").fetchall()
    return found[0] if found else None


@pytest.mark.parametrize(
    ("column", "value", "reason", "detail"),
    [
        ("ChargePeriodStart", "NULL", "charge_period_missing", "charge period missing"),
        ("ChargePeriodEnd", "soon", "time_impossible", "ChargePeriodEnd soon"),
        ("BillingPeriodEnd", "1/1/0001", "time_impossible", "BillingPeriodEnd 1/1/0001"),
        ("ChargePeriodEnd", "2025-05-01T00:00:00Z", "charge_period_empty", "ChargePeriodEnd 2025-05-01T00:00:00Z"),
        ("BillingPeriodEnd", "2025-04-01", "billing_period_empty", "BillingPeriodEnd 2025-04-01"),
        ("ChargeCategory", "(null)", "charge_category_missing", "charge category missing"),
        ("ChargeCategory", "Fee", "charge_category_unknown", "ChargeCategory Fee"),
        ("BilledCost", "", "billed_cost_missing", "billed cost missing"),
        ("BilledCost", "lots", "amount_unreadable", "BilledCost lots"),
        ("EffectiveCost", "lots", "amount_unreadable", "EffectiveCost lots"),
        ("ProviderName", "", "provider_missing", "provider missing"),
        ("BillingAccountId", "null", "account_missing", "account missing"),
        ("BillingCurrency", "", "currency_missing", "currency missing"),
    ],
)
def test_a_row_that_is_no_charge_is_refused_with_what_it_said(
    tmp_path: Path, column: str, value: str, reason: str, detail: str
) -> None:
    """Each thing that a charge needs has a reason of its own, and the detail quotes the file."""
    refused = _refused(tmp_path, **{column: value})

    assert refused is not None
    assert reason == refused[0]
    assert detail in refused[1]


def _loaded(tmp_path: Path, header: str, line: str, query: str) -> list[tuple[Any, ...]]:
    with in_memory() as connection:
        load_into(connection, write_bill(tmp_path / "bill.csv", [line], header=header))
        return connection.execute(f"select {query} from billing.charges").fetchall()


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("SkuPriceDetails", '"{""InstanceType"": ""p5.48xlarge""}"', "p5.48xlarge"),
        ("x_SkuDetails", '"{""ServiceType"":""Standard_ND96isr_H100_v5""}"', "Standard_ND96isr_H100_v5"),
        ("x_UsageType", "USW2-BoxUsage:p5en.48xlarge", "p5en.48xlarge"),
        ("x_InstanceType", "gd-8xh100ib-i128", "gd-8xh100ib-i128"),
        ("ChargeDescription", "$1.624 per On Demand Linux g5.4xlarge Instance Hour", "g5.4xlarge"),
        ("ChargeDescription", "Standard - E3 - Memory", None),
    ],
)
def test_the_machine_s_type_is_found_where_providers_put_it(
    tmp_path: Path, column: str, value: str, expected: str | None
) -> None:
    """A property, a usage type, a column of the provider's own, or the sentence on the invoice."""
    found = _loaded(tmp_path, f"{MINIMAL_HEADER},PricingUnit,{column}", f"{usage(0)},Hours,{value}", "instance_type")

    assert [(expected,)] == found


def test_a_sentence_names_no_machine_unless_hours_are_billed(tmp_path: Path) -> None:
    """A disk of a machine is not the machine."""
    found = _loaded(
        tmp_path,
        f"{MINIMAL_HEADER},PricingUnit,ChargeDescription",
        f"{usage(0)},GB,Snapshot of g5.4xlarge volume",
        "instance_type",
    )

    assert [(None,)] == found


def test_a_virtual_currency_is_kept_apart_by_a_flag(tmp_path: Path) -> None:
    """What a provider calls Token is no token of a language model and no money; it stays as it is written."""
    line = usage(0).replace("acct,USD", "acct,Token")

    found = _loaded(tmp_path, f"{MINIMAL_HEADER},PricingCurrency", f"{line},credits", "billing_currency, flags")

    assert [("Token", ["virtual_currency", "virtual_pricing_currency"])] == found


def test_a_file_without_billing_periods_bills_the_month_of_the_charge(tmp_path: Path) -> None:
    """The period is assumed and the row says so."""
    found = _loaded(
        tmp_path,
        "BillingAccountId,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ProviderName",
        "acct,usd,2024-02-10,2024-02-11,usage,1,1,Example",
        "billing_period_start_at::varchar, billing_period_end_at::varchar, billing_currency, charge_category, flags",
    )

    flags = ["billing_period_assumed", "time_without_zone", "case_folded"]
    assert [("2024-02-01 00:00:00", "2024-03-01 00:00:00", "USD", "Usage", flags)] == found


def test_the_service_provider_wins_over_the_reseller(tmp_path: Path) -> None:
    """FOCUS 1.3 names the provider in a new column; who sent the invoice is asked last."""
    header = MINIMAL_HEADER.replace("ProviderName", "ServiceProviderName") + ",InvoiceIssuerName"

    found = _loaded(tmp_path, header, usage(0, provider="Amazon Web Services") + ",Reseller", "provider")

    assert [("aws",)] == found


def test_a_refused_row_keeps_no_more_text_than_allowed(tmp_path: Path) -> None:
    """What anyone hands in is bounded."""
    header = f"{MINIMAL_HEADER},ChargeDescription"

    with in_memory() as connection:
        load_into(connection, write_bill(tmp_path / "b.csv", [usage(0, cost="?") + "," + "x" * 9000], header=header))
        length = connection.execute("select length(payload) from billing.rejected_rows").fetchall()

    assert [(4096,)] == length
