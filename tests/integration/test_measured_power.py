"""Power that was measured on eight B200 and a bill that FOCUS's authors wrote, through to the published marts."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.scripted import SECOND_US, ScriptedNode, ScriptedWarehouse, rows, server
from tokenmill_agent.gpu.energy import EnergyIntegrator
from tokenmill_pipeline.billing.load import LoadOptions, load_path
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build

DATA = Path(__file__).parents[3] / "shared" / "data"
POWER = DATA / "power" / "b200x8_board_power.csv"
BILLS = DATA / "billing" / "focus" / "corrections" / "closed-billing-period"
ORIGINAL = BILLS / "scenario_1_partial_reallocation_original.csv"
LEDGER = BILLS / "scenario_1_partial_reallocation_ledger.csv"

FIRST = datetime(2025, 5, 1, 0, 10, tzinfo=UTC)
LATER = datetime(2025, 5, 1, 2, tzinfo=UTC)
GPUS = 8
MEASURED_SECONDS = 2
# The trapezoid over the three measured samples of each GPU, added up: see the README beside the file.
ENERGY_JOULES = 5597.9
# The bill's row covers the hour and the node was watched for two seconds of it.
WATCHED_SHARE = MEASURED_SECONDS / 3600

pytestmark = pytest.mark.skipif(
    not (POWER.is_file() and ORIGINAL.is_file()), reason="the measured power rows and the FOCUS bills are not here"
)


def measured_node() -> ScriptedNode:
    """Return a node whose agent integrated the measured power while a server counted 3,000 tokens."""
    first_us = round(FIRST.timestamp()) * SECOND_US
    node = ScriptedNode(
        name="b200-1",
        gpu_count=GPUS,
        gpu_name="NVIDIA B200",
        power_limit_milliwatts=1_000_000,
        account="acct",
        boot_at_us=first_us - 1000 * SECOND_US,
    )
    meters = [EnergyIntegrator(max_gap_us=3 * SECOND_US) for _ in range(GPUS)]
    with POWER.open(encoding="utf-8") as handle:
        readings = list(csv.DictReader(handle))
    for second in range(MEASURED_SECONDS + 1):
        at_us = first_us + second * SECOND_US
        taken = [row for row in readings if float(row["offset_s"]) == second]
        node.gpu_rows(
            [_row(meters[int(row["gpu_index"])], row, at_us) for row in taken],
            placements=[node.placement(gpu, at_us, "d1") for gpu in range(GPUS)],
        )
        node.token_rows(
            [server(started_at_us=first_us - 500 * SECOND_US, expected_gpu_count=GPUS, model_served="r1-671b")],
            [{"at_us": at_us, "input_tokens": 1000 * second, "output_tokens": 500 * second}],
        )
    return node


def _row(meter: EnergyIntegrator, reading: dict[str, str], at_us: int) -> dict[str, Any]:
    power_milliwatts = round(float(reading["board_power_w"]) * 1000)
    meter.add(at_us, power_milliwatts)
    return {
        "gpu": int(reading["gpu_index"]),
        "at_us": at_us,
        "energy_integrated_millijoules": meter.energy_millijoules,
        "integrated_us": meter.covered_us,
        "power_mean_milliwatts": power_milliwatts,
    }


@pytest.fixture
def warehouse(tmp_path: Path) -> ScriptedWarehouse:
    """Return a warehouse with the measured node landed and the bill's resource linked to it."""
    found = ScriptedWarehouse(tmp_path)
    found.land(measured_node().sent)
    links = tmp_path / "links.toml"
    links.write_text(
        '[[resource_link]]\nprovider = "acme"\nresource_id = "R-111"\nnode = "b200-1"\n'
        "valid_from = 2025-01-01T00:00:00Z\n",
        encoding="utf-8",
    )
    load_path(found.settings, BillingSettings(), links, now=LATER)
    return found


def published(warehouse: ScriptedWarehouse, *bills: Path) -> dict[str, dict[str, Any]]:
    """Load bills, build, and return the published rows of the hour by model."""
    options = LoadOptions(provider="acme", account="acct", currency="USD")
    for bill in bills:
        load_path(warehouse.settings, BillingSettings(), bill, options=options, now=LATER)
    build(warehouse.settings, warehouse.build, warehouse.fleet, BillingSettings(), now=LATER)
    with duckdb.connect(str(warehouse.settings.published_path), read_only=True) as connection:
        return {
            row["model"]: row
            for row in rows(
                connection,
                "select * from marts.hourly_cost_per_token as c "
                "left join marts.hourly_tokens_per_megawatt as t using (hour_at, gpu_generation, model)",
            )
        }


def test_energy_is_the_published_integral(warehouse: ScriptedWarehouse) -> None:
    """The joules in the mart are those of a right integration, and tokens per megawatt follow from them."""
    row = published(warehouse)["r1-671b"]

    assert ("Blackwell", "integrated") == (row["gpu_generation"], row["energy_method"])
    assert ENERGY_JOULES == row["gpu_energy_joules"]
    assert pytest.approx(3000 * 1e6 / ENERGY_JOULES, rel=1e-12) == row["tokens_per_second_per_megawatt_gpu"]


def test_money_is_the_bills_and_unwatched_time_is_paid_too(warehouse: ScriptedWarehouse) -> None:
    """Two watched seconds of a billed hour cost their share; the rest of it is unobserved, and none is lost."""
    found = published(warehouse, ORIGINAL)

    assert pytest.approx(1500 * WATCHED_SHARE, rel=1e-9) == found["r1-671b"]["effective_cost"]
    assert pytest.approx(1500 * (1 - WATCHED_SHARE), rel=1e-9) == found["(unobserved)"]["effective_cost"]
    assert pytest.approx(1500, rel=1e-12) == found["r1-671b"]["all_in_cost"]
    assert "invoiced" == found["r1-671b"]["cost_status"]


def test_corrected_bill_moves_the_hour_and_keeps_the_old_figure(warehouse: ScriptedWarehouse) -> None:
    """A ledger correction of the closed month takes 300 from the node and gives it to a resource that no node has."""
    published(warehouse, ORIGINAL)
    found = published(warehouse, LEDGER)
    with duckdb.connect(str(warehouse.settings.published_path), read_only=True) as connection:
        revisions = rows(
            connection,
            "select revision, sum(effective_cost) as cost from hourly.unit_economics "
            "where node_energy_method is not null and deployment = 'd1' group by all order by all",
        )

    assert pytest.approx(1200 * WATCHED_SHARE, rel=1e-9) == found["r1-671b"]["effective_cost"]
    assert [pytest.approx(cost * WATCHED_SHARE, rel=1e-9) for cost in (1500, 1200)] == [r["cost"] for r in revisions]
