"""Says in a few lines what a load did, for a person: one row per delivery, the sums, and what deserves a look."""

from decimal import Decimal
from typing import Any, Final

from tokenmill_pipeline.billing.load import COSTS, LoadReport

DELIVERY_NAMES: Final = (
    "status",
    "delivery",
    "provider",
    "account",
    "billing period",
    "rows",
    "set aside",
    "numerator",
    "data until",
    "closed",
)


def delivery_rows(report: LoadReport) -> list[list[Any]]:
    """Return one row per delivery of the load, under DELIVERY_NAMES."""
    return [
        [
            delivery.status,
            delivery.delivery_id,
            delivery.provider,
            delivery.account,
            f"{delivery.billing_period_start_at:%Y-%m-%d} to {delivery.billing_period_end_at:%Y-%m-%d}",
            delivery.row_count,
            delivery.rejected_row_count,
            delivery.numerator,
            delivery.data_until_at,
            delivery.is_closed,
        ]
        for delivery in report.deliveries
    ]


def facts(report: LoadReport) -> dict[str, Any]:
    """Return the sums of a load by name, those that are empty left out; amounts are exact, as text."""
    found: dict[str, Any] = {"changed": report.changed}
    if report.kind == "bill":
        found |= {"rows_loaded": report.rows_loaded, "rows_set_aside": report.rows_set_aside}
    for currency in sorted({*report.totals, *report.totals_set_aside}):
        for cost in COSTS:
            kept = report.totals.get(currency, {}).get(cost, Decimal())
            aside = report.totals_set_aside.get(currency, {}).get(cost, Decimal())
            found[f"{cost} {currency}"] = _amount(kept) + (f" (and {_amount(aside)} set aside)" if aside else "")
    found |= {f"set aside: {reason}": count for reason, count in report.reasons.items()}
    found |= {f"flag: {flag}": count for flag, count in report.flags.items()}
    found |= {f"changed in {table}": count for table, count in report.price_entries.items()}
    if report.superseded:
        found["superseded"] = ", ".join(report.superseded)
    return found | {"hours_marked": report.hours_marked}


def _amount(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
