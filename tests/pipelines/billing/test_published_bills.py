"""The public FOCUS example files: each comes out with its published totals, to the last digit."""

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.pipelines.billing.bills import (
    FLAGS,
    FOCUS_DIR,
    decimal,
    expected_totals,
    in_memory,
    load_into,
    needs_focus_files,
    rows,
    run,
)
from tokenmill_agent.errors import UsageError

COST_AND_USAGE = sorted(name for name, entry in expected_totals()["files"].items() if "sum" in entry["expected"])
COLUMNS = {
    "BilledCost": "billed_cost",
    "EffectiveCost": "effective_cost",
    "ListCost": "list_cost",
    "ContractedCost": "contracted_cost",
}


@needs_focus_files
@pytest.mark.parametrize("name", COST_AND_USAGE)
def test_a_public_example_adds_up_to_its_published_totals(name: str) -> None:
    """Rows loaded and set aside are the file's rows, and so is every cost column, to the last digit."""
    expected = expected_totals()["files"][name]["expected"]

    with in_memory() as connection:
        report = load_into(connection, FOCUS_DIR / name)
        breakdowns = {key: _stored(connection, expression) for key, expression in BREAKDOWNS.items()}

    assert expected["rows"] == report.rows_loaded + report.rows_set_aside
    for column, total in expected["sum"].items():
        parts = [*report.totals.values(), *report.totals_set_aside.values()]
        assert decimal(total) == sum(part[COLUMNS[column]] for part in parts)
    for key in BREAKDOWNS.keys() & expected.keys():
        assert _totals(expected[key]) == breakdowns[key]


BREAKDOWNS = {
    "by_charge_category": "charge_category",
    "by_charge_period_start_day": "strftime(charge_period_start_at, '%Y-%m-%d')",
    "by_resource_id": "coalesce(resource_id, 'null')",
    "by_invoice_id": "coalesce(invoice_id, 'null')",
    "by_commitment_discount_status": "coalesce(commitment_discount_status, 'null')",
    "by_capacity_reservation_status": "coalesce(capacity_reservation_status, 'null')",
}
IMPOSSIBLE_TIME = "commitments/commitment_discount_purchase_scenario_3.csv"


def _totals(expected: dict[str, dict[str, str]]) -> dict[str, tuple[Decimal, Decimal]]:
    return {key: (decimal(sums["BilledCost"]), decimal(sums["EffectiveCost"])) for key, sums in expected.items()}


def _stored(connection: duckdb.DuckDBPyConnection, expression: str) -> dict[str, tuple[Decimal, Decimal]]:
    # What was set aside is in the file's published breakdowns too.
    found = connection.execute(
        f"""
        with kept as (
            select {expression} as key, billed_cost, effective_cost from bill_charges
        )
        select key, sum(billed_cost), sum(effective_cost) from kept group by key
        """
    ).fetchall()
    return {key: (billed, effective) for key, billed, effective in found}


@needs_focus_files
def test_a_row_with_an_impossible_time_is_set_aside_and_the_others_are_kept(tmp_path: Path) -> None:
    """A charge that ends at 30:00 is refused with its text and its money; the file goes on."""
    report = run(tmp_path, FOCUS_DIR / IMPOSSIBLE_TIME)

    assert {"time_impossible": 1} == report.reasons
    refused = rows(tmp_path, "select row_number, reason, billed_cost, detail, payload from billing.rejected_rows")[0]
    assert (4, "time_impossible", Decimal("0.5")) == refused[:3]
    assert "ChargePeriodEnd 2023-02-01T30:00:00Z" in refused[3]
    assert '"BilledCost":"0.50"' in refused[4]


@needs_focus_files
@pytest.mark.parametrize("sequence", expected_totals()["sequences"], ids=lambda item: str(item["id"]))
def test_corrections_come_out_as_published(sequence: dict[str, Any]) -> None:
    """After each file of a correction sequence the current charges of the hour, and each invoice, are as published."""
    with in_memory() as connection:
        for step in sequence["steps"]:
            load_into(connection, FOCUS_DIR / step["after"], dataclasses.replace(FLAGS, delivery=step["delivery"]))

            assert _expected_hours(step) == _current_hours(connection)
            assert {k: decimal(v) for k, v in step["billed_by_invoice"].items()} == _current_invoices(connection)


def _expected_hours(step: dict[str, Any]) -> dict[tuple[str, str], tuple[Decimal, ...]]:
    return {
        (hour, resource): tuple(
            decimal(sums[name]) for name in ("EffectiveCost", "BilledCost", "ListCost", "PricingQuantity")
        )
        for hour, resources in step["by_charge_hour_and_resource"].items()
        for resource, sums in resources.items()
        if resource != "_total"
    }


CURRENT = "billing.charges semi join (from billing.deliveries where superseded_at is null) using (delivery_id)"


def _current_hours(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], tuple[Decimal, ...]]:
    found = connection.execute(
        f"""
        select strftime(charge_period_start_at, '%Y-%m-%dT%H:00:00Z'), coalesce(resource_id, 'null'),
            sum(effective_cost), sum(billed_cost), sum(list_cost), coalesce(sum(pricing_quantity), 0)
        from {CURRENT} group by all
        """
    ).fetchall()
    return {(row[0], row[1]): row[2:] for row in found}


def _current_invoices(connection: duckdb.DuckDBPyConnection) -> dict[str, Decimal]:
    return dict(connection.execute(f"select invoice_id, sum(billed_cost) from {CURRENT} group by all").fetchall())


@needs_focus_files
def test_rounded_effective_cost_is_not_the_numerator(tmp_path: Path) -> None:
    """Of the dirty sample, the providers that round EffectiveCost to whole dollars fall back to BilledCost, by name."""
    report = run(tmp_path, FOCUS_DIR / "dirty" / "focus_sample.csv")

    assert {("aws", "billed"), ("azure", "effective"), ("oci", "billed")} == {
        (delivery.provider, delivery.numerator) for delivery in report.deliveries
    }
    assert any("effective_cost_rounded" in note for note in report.notes)


@needs_focus_files
def test_the_dirty_sample_s_defects_are_flagged(tmp_path: Path) -> None:
    """Each defect that the sample is known for is flagged on exactly the rows that have it."""
    report = run(tmp_path, FOCUS_DIR / "dirty" / "focus_sample.csv")

    expected = {
        "case_folded": 7,
        "contracted_cost_below_billed": 31,
        "negative_cost": 13,
        "price_zero": 604,
        "time_without_zone": 1000,
        "zone_is_number": 51,
    }
    assert expected == {flag: report.flags[flag] for flag in expected}
    assert (
        0 == rows(tmp_path, "select count(*) from billing.charges where availability_zone similar to '[0-9.]+'")[0][0]
    )


@needs_focus_files
def test_contract_commitments_are_refused(tmp_path: Path) -> None:
    """They are no charges: adding them to a bill would count the commitment twice."""
    with pytest.raises(UsageError, match=r"Contract Commitment dataset.*lacks BilledCost"):
        run(tmp_path, FOCUS_DIR / "contract" / "contract_commitment_scenario_1.csv")
