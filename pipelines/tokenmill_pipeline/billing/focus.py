"""Recognises a FOCUS cost and usage file by its columns and says where each charge column comes from.

A *shape* is what an adapter knows about a file from its header alone: for each FOCUS column the SQL expression over the
file's own text columns that gives it. FOCUS itself is the first shape; a provider that deviates adds a function to
`SHAPES` that looks at the header and returns a shape of its own, and nothing behind it changes.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tokenmill_agent.errors import UsageError

DATASET: Final = "cost_and_usage"

READ_COLUMNS: Final[dict[str, str]] = {
    "AvailabilityZone": "availability_zone",
    "BilledCost": "billed_cost_text",
    "BillingAccountId": "billing_account_id",
    "BillingCurrency": "billing_currency",
    "BillingPeriodEnd": "billing_period_end_text",
    "BillingPeriodStart": "billing_period_start_text",
    "CapacityReservationId": "capacity_reservation_id",
    "CapacityReservationStatus": "capacity_reservation_status_text",
    "ChargeCategory": "charge_category_text",
    "ChargeClass": "charge_class_text",
    "ChargeDescription": "charge_description",
    "ChargeFrequency": "charge_frequency_text",
    "ChargePeriodEnd": "charge_period_end_text",
    "ChargePeriodStart": "charge_period_start_text",
    "CommitmentDiscountId": "commitment_discount_id",
    "CommitmentDiscountStatus": "commitment_discount_status_text",
    "ConsumedQuantity": "consumed_quantity_text",
    "ConsumedUnit": "consumed_unit",
    "ContractedCost": "contracted_cost_text",
    "EffectiveCost": "effective_cost_text",
    "InvoiceId": "invoice_id",
    "InvoiceIssuerName": "invoice_issuer_name",
    "ListCost": "list_cost_text",
    "PricingCurrency": "pricing_currency",
    "PricingQuantity": "pricing_quantity_text",
    "PricingUnit": "pricing_unit",
    "ProviderName": "provider_name",
    "RegionId": "region_id",
    "ResourceId": "resource_id",
    "ResourceName": "resource_name",
    "ResourceType": "resource_type",
    "ServiceCategory": "service_category",
    "ServiceName": "service_name",
    "ServiceProviderName": "service_provider_name",
    "SkuId": "sku_id",
    "SkuMeter": "sku_meter",
    "SkuPriceDetails": "sku_price_details",
    "SkuPriceId": "sku_price_id",
    "SubAccountId": "sub_account",
    "Tags": "tags",
    "x_InstanceType": "instance_type_text",
    "x_SkuDetails": "sku_details_text",
    "x_UsageType": "usage_type_text",
}
"""Every column that the loader reads and its name in `bill_texts`; the rest of a file is left alone."""

MANDATORY_COLUMNS: Final = ("BilledCost", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd")
"""Without these a row is no charge, and no flag can stand in for them."""

KNOWN_COLUMNS: Final = frozenset(READ_COLUMNS) | {
    "BillingAccountName",
    "CommitmentDiscountCategory",
    "CommitmentDiscountName",
    "CommitmentDiscountType",
    "ContractedUnitPrice",
    "ListUnitPrice",
    "PricingCategory",
    "PublisherName",
    "RegionName",
    "SubAccountName",
}

# FOCUS specification changelog: the columns that each version added.
_ADDED: Final[dict[str, frozenset[str]]] = {
    "1.4": frozenset(
        {
            "CommitmentEligibilityDetails",
            "CommitmentProgramEligibility",
            "CommitmentProgramEligibilityDetails",
            "TagDetails",
        }
    ),
    "1.3": frozenset(
        {
            "AllocatedMethodDetails",
            "AllocatedMethodId",
            "AllocatedResourceId",
            "AllocatedResourceName",
            "AllocatedTags",
            "ContractApplied",
            "HostProviderName",
            "ServiceProviderName",
        }
    ),
    "1.2": frozenset(
        {
            "BillingAccountType",
            "InvoiceId",
            "PricingCurrency",
            "PricingCurrencyContractedUnitPrice",
            "PricingCurrencyEffectiveCost",
            "PricingCurrencyListUnitPrice",
            "SubAccountType",
        }
    ),
    "1.1": frozenset(
        {
            "CapacityReservationId",
            "CapacityReservationStatus",
            "CommitmentDiscountQuantity",
            "CommitmentDiscountUnit",
            "ServiceSubcategory",
            "SkuMeter",
            "SkuPriceDetails",
        }
    ),
}
# FOCUS 1.4 removed these; a file of 1.3 still has one of them beside ServiceProviderName.
_REMOVED_IN_1_4: Final = frozenset({"ProviderName", "PublisherName"})
_ALL_COLUMNS: Final = KNOWN_COLUMNS.union(*_ADDED.values())
_BY_FOLDED_NAME: Final = {name.lower(): name for name in _ALL_COLUMNS}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How to read one file: FOCUS column to SQL expression over the file's columns, and what is left unread."""

    name: str
    version: str
    expressions: Mapping[str, str]
    unread: tuple[str, ...]

    def has(self, column: str) -> bool:
        """Return whether the file gives the FOCUS column."""
        return column in self.expressions


def recognise(header: Sequence[str], where: str) -> Shape:
    """Return the shape of a file with this header.

    Raises:
        UsageError: no adapter reads it; the sentence says what the file is, or what it lacks.
    """
    for shape_of in SHAPES:
        if (shape := shape_of(header, where)) is not None:
            return shape
    raise UsageError(_refusal({fold(name) for name in header}, where))


def fold(name: str) -> str:
    """Return a column name as names are compared: without case, blanks and underscores, except that of `x_`."""
    text = name.strip().lower()
    return ("x_" if text.startswith("x_") else "") + text.removeprefix("x_").replace("_", "").replace(" ", "")


def focus_shape(header: Sequence[str], where: str) -> Shape | None:
    """Return the shape of a FOCUS 1.0 to 1.4 cost and usage file, or None where it is not one.

    Raises:
        UsageError: two columns would both be the same FOCUS column.
    """
    names: dict[str, str] = {}
    for column in header:
        if (name := _BY_FOLDED_NAME.get(fold(column))) is None:
            continue
        if name in names:
            raise UsageError(f"{where}: the columns {names[name]!r} and {column!r} are both {name}; remove one of them")
        names[name] = column
    if not set(MANDATORY_COLUMNS) <= set(names):
        return None
    return Shape(
        name="focus",
        version=version_of(names),
        expressions={name: identifier(names[name]) for name in READ_COLUMNS if name in names},
        unread=tuple(column for column in header if fold(column) not in _BY_FOLDED_NAME),
    )


SHAPES: Final[tuple[Callable[[Sequence[str], str], Shape | None], ...]] = (focus_shape,)


def version_of(columns: Mapping[str, object] | frozenset[str] | set[str]) -> str:
    """Return the oldest FOCUS version that has these columns; a file need not have all of a version's."""
    names = set(columns)
    if names & _ADDED["1.4"] or ("ServiceProviderName" in names and not names & _REMOVED_IN_1_4):
        return "1.4"
    return next((version for version in ("1.3", "1.2", "1.1") if names & _ADDED[version]), "1.0")


def identifier(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _refusal(folded: set[str], where: str) -> str:
    missing = [name for name in MANDATORY_COLUMNS if name.lower() not in folded]
    lacks = f"it lacks {', '.join(missing)}"
    if (other := _other_dataset(folded, missing)) is not None:
        what, remedy = other
        return f"{where} {what} ({lacks}): {remedy}"
    if known := sorted(_BY_FOLDED_NAME[name] for name in folded if name in _BY_FOLDED_NAME):
        return f"{where} is no FOCUS cost and usage file: {lacks}; it has {', '.join(known)}{_nearest(missing, folded)}"
    return f"{where} has the shape of no bill that is known: {lacks}; export it as FOCUS 1.0 to 1.4"


def _other_dataset(folded: set[str], missing: Sequence[str]) -> tuple[str, str] | None:
    """Return what a file that is no cost and usage file is, and what to do about it, where the header tells."""
    cost_and_usage = "load the cost and usage export instead"
    if any(name.startswith("contractcommitment") for name in folded):
        return "is a FOCUS Contract Commitment dataset, not cost and usage", "its rows are never added to a bill"
    if {"invoicedetailid", "invoicedetailgrain"} & folded:
        return "is a FOCUS Invoice Detail dataset, not cost and usage", cost_and_usage
    if "billingperiodstatus" in folded:
        return "is a FOCUS Billing Period dataset, not cost and usage", f"{cost_and_usage}, --closed if it is closed"
    if {"chargetype", "amortizedcost"} & folded:
        return "is FOCUS older than 1.0", "ask the provider for an export of FOCUS 1.0 or newer"
    if "BilledCost" in missing and {"consumedquantity", "pricingquantity"} & folded:
        return "holds quantities and no cost", "load a rate card (a .toml file) for these GPUs instead"
    return None


def _nearest(missing: Sequence[str], folded: set[str]) -> str:
    for name in missing:
        if close := difflib.get_close_matches(name.lower(), sorted(folded), n=1, cutoff=0.8):
            return f' (is "{close[0]}" its {name}?)'
    return ""
