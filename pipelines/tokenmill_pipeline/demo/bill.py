"""Writes the demo's bill, in the columns of FOCUS 1.2, and its rate card; all of it is simulated."""

import csv
import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from tokenmill_pipeline.demo.plan import Plan

NODE_COST_PER_HOUR: Final = Decimal("20.88")
"""Eight H200 at 2.61 USD an hour, as contracted; the list price is a fifth higher."""
STORAGE_COST_PER_HOUR: Final = Decimal("0.64")
B200_PER_GPU_HOUR: Final = Decimal("3.45")
LIST_FACTOR: Final = Decimal("1.2")

COLUMNS: Final = (
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one kind of line of the bill says, hour after hour."""

    cost: Decimal
    description: str
    category: str
    service: str
    resource_id: str
    resource_name: str
    resource_type: str
    sku_id: str
    sku_details: str


NODE: Final = Line(
    cost=NODE_COST_PER_HOUR,
    description="Simulated: 8x H200 instance, on demand",
    category="Compute",
    service="GPU Instances",
    resource_id="i-0hopper1",
    resource_name="hopper-1",
    resource_type="Instance",
    sku_id="GPU-H200-8",
    sku_details='{"InstanceType": "gpu-h200-8", "GpuCount": 8}',
)
STORAGE: Final = Line(
    cost=STORAGE_COST_PER_HOUR,
    description="Simulated: file storage for model weights",
    category="Storage",
    service="File Storage",
    resource_id="fs-0weights",
    resource_name="weights",
    resource_type="File System",
    sku_id="FILES-STD",
    sku_details="",
)


def write_bill(plan: Plan) -> Path:
    """Write the bill of ExampleCloud, a file for each billing month of the hours; return the folder."""
    months: dict[datetime, list[dict[str, str]]] = {}
    for row_month, row in _rows(plan):
        months.setdefault(row_month, []).append(row)
    plan.inbox_dir.mkdir(parents=True, exist_ok=True)
    for month, rows in months.items():
        path = plan.inbox_dir / f"examplecloud-simulated-{month:%Y-%m}.csv"
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
    return plan.inbox_dir


def write_rates(plan: Plan) -> Path:
    """Write the rate card of NeoCloud, which sends no bill."""
    path = plan.inbox_dir / "neocloud-simulated.toml"
    path.write_text(
        f"""# Simulated: what NeoCloud asks for a GPU-hour, for it sends no bill.
[[rate_card]]
provider = "NeoCloud"
account = "tenant-7"
gpu_sku = "B200"
currency = "USD"
per_gpu_hour = {B200_PER_GPU_HOUR}
valid_from = {plan.first_at:%Y-%m-01}
source = "simulated contract"
""",
        encoding="utf-8",
    )
    return path


def _rows(plan: Plan) -> Iterator[tuple[datetime, dict[str, str]]]:
    hour = plan.first_at
    while hour < plan.end_at:
        month = hour.replace(day=1, hour=0)
        yield from ((month, _row(line, hour, month)) for line in (NODE, STORAGE))
        hour += timedelta(hours=1)


def _row(line: Line, hour: datetime, month: datetime) -> dict[str, str]:
    cost, listed = str(line.cost), str(line.cost * LIST_FACTOR)
    return {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ContractedCost": cost,
        "ContractedUnitPrice": cost,
        "ListCost": listed,
        "ListUnitPrice": listed,
        "BillingAccountId": "acct-main",
        "BillingAccountName": "Simulated main account",
        "BillingAccountType": "Account",
        "BillingCurrency": "USD",
        "PricingCurrency": "USD",
        "BillingPeriodStart": _text(month),
        "BillingPeriodEnd": _text((month + timedelta(days=31)).replace(day=1)),
        "ChargePeriodStart": _text(hour),
        "ChargePeriodEnd": _text(hour + timedelta(hours=1)),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": line.description,
        "ConsumedQuantity": "1",
        "ConsumedUnit": "Hours",
        "PricingCategory": "Standard",
        "PricingQuantity": "1",
        "PricingUnit": "Hours",
        "InvoiceIssuerName": "ExampleCloud",
        "ProviderName": "ExampleCloud",
        "PublisherName": "ExampleCloud",
        "RegionId": "eu-north-1",
        "RegionName": "Europe North",
        "AvailabilityZone": "eu-north-1a",
        "ResourceId": line.resource_id,
        "ResourceName": line.resource_name,
        "ResourceType": line.resource_type,
        "ServiceCategory": line.category,
        "ServiceName": line.service,
        "SkuId": line.sku_id,
        "SkuPriceId": f"{line.sku_id}-ON-DEMAND",
        "SkuPriceDetails": line.sku_details,
        "Tags": '{"simulated": "true"}',
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
