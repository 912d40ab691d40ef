"""Recognising a bill by its header: the version it has, and what is refused because it is something else."""

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.billing import focus

MANDATORY = list(focus.MANDATORY_COLUMNS)


@pytest.mark.parametrize(
    ("columns", "version"),
    [
        (["ProviderName", "PublisherName", "RegionId"], "1.0"),
        (["ProviderName", "SkuMeter"], "1.1"),
        (["ProviderName", "InvoiceId", "SkuMeter"], "1.2"),
        (["ProviderName", "ServiceProviderName"], "1.3"),
        (["ProviderName", "AllocatedTags"], "1.3"),
        (["ServiceProviderName", "HostProviderName"], "1.4"),
        (["ProviderName", "TagDetails"], "1.4"),
    ],
)
def test_the_version_is_told_by_the_columns_that_it_added(columns: list[str], version: str) -> None:
    """A file is of the oldest version that has its columns; 1.4 dropped ProviderName."""
    assert version == focus.recognise([*MANDATORY, *columns], "bill.csv").version


def test_columns_are_known_without_regard_to_case_and_underscores() -> None:
    """`SkuPriceid`, as one example of the specification writes it, is SkuPriceId."""
    shape = focus.recognise([*MANDATORY, "SkuPriceid", "billing_currency", "Sub Account Id"], "bill.csv")

    assert ['"SkuPriceid"', '"billing_currency"', '"Sub Account Id"'] == [
        shape.expressions[name] for name in ("SkuPriceId", "BillingCurrency", "SubAccountId")
    ]


def test_unknown_columns_are_left_alone() -> None:
    """A column that FOCUS lacks never stops a bill."""
    assert ("Id", "x_Team") == focus.recognise([*MANDATORY, "Id", "x_Team"], "bill.csv").unread


def test_a_column_twice_is_refused() -> None:
    """Which of the two is the money cannot be guessed."""
    with pytest.raises(UsageError, match="'BilledCost' and 'billedcost' are both BilledCost"):
        focus.recognise([*MANDATORY, "billedcost"], "bill.csv")


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (["ContractCommitmentId", "ContractId", "BillingCurrency"], "Contract Commitment dataset.*lacks BilledCost"),
        (["InvoiceDetailId", "BilledCost", "ChargeCategory"], "Invoice Detail dataset.*lacks ChargePeriodStart"),
        (["BillingPeriodStart", "BillingPeriodStatus"], "Billing Period dataset.*--closed"),
        (["ChargeType", "AmortizedCost", "BilledCost"], "older than 1.0.*lacks ChargeCategory"),
        (
            ["ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd", "ConsumedQuantity"],
            "quantities and no cost.*rate card",
        ),
        (["BilledCost", "ChargeCategory", "ChargePeriodStart"], "lacks ChargePeriodEnd; it has BilledCost"),
        (["BilledCost", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnds"], 'is "chargeperiodends" its'),
        (["date", "amount"], "shape of no bill that is known.*FOCUS 1.0 to 1.4"),
    ],
)
def test_what_is_no_cost_and_usage_file_is_refused_by_name(header: list[str], sentence: str) -> None:
    """The sentence says what the file is or what it lacks, and what to do."""
    with pytest.raises(UsageError, match=f"bill.csv.*{sentence}"):
        focus.recognise(header, "bill.csv")


def test_a_name_with_a_quote_stays_one_name() -> None:
    """A header is data: it cannot end the statement that it stands in."""
    assert '"a""; drop table x; --"' == focus.identifier('a"; drop table x; --')
