"""The demo's bill is one that a provider could have sent."""

import csv
import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tokenmill_agent.simulate import SCENARIOS
from tokenmill_pipeline.billing.load import load_inbox
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import PipelineSettings
from tokenmill_pipeline.demo.bill import COLUMNS, NODE_COST_PER_HOUR, STORAGE_COST_PER_HOUR, write_bill, write_rates
from tokenmill_pipeline.demo.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Return four hours across the end of a month."""
    end_at = datetime(2026, 12, 1, 2, tzinfo=UTC)
    return Plan(data_dir=tmp_path, first_at=end_at - timedelta(hours=4), end_at=end_at, now=end_at)


def rows_of(plan: Plan) -> list[dict[str, str]]:
    """Return every row of the bill."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(plan.inbox_dir.glob("*.csv"))]
    return [row for text in texts for row in csv.DictReader(text.splitlines())]


def test_each_billing_month_is_a_file_of_its_own(plan: Plan) -> None:
    """Hours of November and of December are two bills."""
    write_bill(plan)

    assert ["examplecloud-simulated-2026-11.csv", "examplecloud-simulated-2026-12.csv"] == sorted(
        path.name for path in plan.inbox_dir.iterdir()
    )


def test_every_row_is_hourly_and_says_simulated(plan: Plan) -> None:
    """A row of the node and one of its storage for each hour, in all columns of FOCUS."""
    write_bill(plan)
    rows = rows_of(plan)

    assert 8 == len(rows)
    assert all(tuple(row) == COLUMNS and "imulated" in row["ChargeDescription"] for row in rows)


def test_the_bill_loads_without_a_refusal_and_to_the_cent(plan: Plan) -> None:
    """Everything in the inbox loads; the totals are those of the rows."""
    write_bill(plan)
    write_rates(plan)
    reports = load_inbox(
        PipelineSettings(data_dir=plan.data_dir), BillingSettings(inbox_dir=plan.inbox_dir), now=plan.end_at
    )

    assert [0, 0, 0] == [report.rows_set_aside for report in reports]
    assert Decimal(4) * (NODE_COST_PER_HOUR + STORAGE_COST_PER_HOUR) == sum(
        report.totals["USD"]["effective_cost"] for report in reports if report.kind == "bill"
    )


def test_bill_and_rate_card_name_the_nodes_as_the_agents_do(plan: Plan) -> None:
    """Resource, provider and account are those of the simulated nodes, otherwise nothing would join."""
    write_bill(plan)
    rates = tomllib.loads(write_rates(plan).read_text(encoding="utf-8"))["rate_card"][0]
    row = rows_of(plan)[0]
    hopper, blackwell = (SCENARIOS[name].identity for name in ("hopper", "blackwell"))

    assert (hopper.instance_id, hopper.provider, hopper.account) == (
        row["ResourceId"],
        row["ProviderName"],
        row["BillingAccountId"],
    )
    assert (blackwell.provider, blackwell.account) == (rates["provider"], rates["account"])
