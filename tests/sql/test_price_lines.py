"""Where every dollar of a bill goes: split over hours, matched to nodes, shared by GPU time, converted once."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.priced import H0, HOUR, Priced

DAY = datetime(2026, 11, 24)  # noqa: DTZ001 - the warehouse keeps UTC without a zone


@pytest.fixture
def priced() -> Priced:
    """Return a warehouse with one node of 8 GPUs that a unit holds."""
    warehouse = Priced()
    warehouse.use()
    return warehouse


def model_cost(priced: Priced, model: str = "m") -> Any:
    """Return the effective cost of a model in the first hour."""
    return priced.one(f"select effective_cost from marts.hourly_economics where model = '{model}' and hour_at = '{H0}'")


def line(priced: Priced) -> Any:
    """Return line and match level of the only charge line."""
    return priced.one("select line, match_level from hourly.charge_lines where not is_estimate")


def test_a_linked_resource_pays_for_its_node(priced: Priced) -> None:
    """A charge whose resource is linked to a node is the cost of the units on that node."""
    priced.charge("16", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.price()

    assert (16.0, ("usage", "resource")) == (model_cost(priced), line(priced))


def test_a_day_is_spread_over_its_hours(priced: Priced) -> None:
    """Each hour of a charge of a day gets a twenty-fourth of it."""
    priced.charge("240", resource_id="i-1", charge_period_start_at=DAY, charge_period_end_at=DAY + timedelta(days=1))
    priced.link("i-1", "node-a")
    priced.price()

    assert 10.0 == model_cost(priced)


def test_an_open_row_runs_only_to_where_the_data_end(priced: Priced) -> None:
    """A row of a month that is delivered on the day's noon is spread up to that noon, and no further."""
    priced.delivery(data_until_at=DAY + timedelta(hours=12))
    priced.charge("24", charge_category="Tax", charge_period_start_at=DAY, charge_period_end_at=datetime(2026, 12, 1))  # noqa: DTZ001 - UTC
    priced.price(H0, DAY + timedelta(hours=12))

    lines = priced.rows("select hour_at, numerator_cost from hourly.charge_lines where not is_estimate")
    assert [(H0, Decimal(2))] == lines


def test_what_was_bought_covers_its_whole_time(priced: Priced) -> None:
    """A purchase for a day is spread over that day, however far the delivery's data go."""
    priced.delivery(data_until_at=DAY + timedelta(hours=12))
    day: dict[str, Any] = {"charge_period_start_at": DAY, "charge_period_end_at": DAY + timedelta(days=1)}
    priced.charge("24", charge_category="Purchase", **day)
    report = priced.price(H0, DAY + timedelta(hours=20))

    lines = priced.rows("select numerator_cost from hourly.charge_lines where not is_estimate")
    assert ([(Decimal(1),), (Decimal(1),)], ()) == (lines, report.withheld)


def test_a_superseded_delivery_does_not_count(priced: Priced) -> None:
    """Of two deliveries of one period only the current one is money."""
    priced.delivery(delivery_id="old", superseded_at=H0)
    priced.charge("99", delivery_id="old", resource_id="i-1")
    priced.charge("16", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.price()

    assert 16.0 == priced.one("select sum(effective_cost) from marts.hourly_economics")


def test_a_capacity_pool_is_shared_by_its_links(priced: Priced) -> None:
    """A reservation that is linked to two nodes pays for both, by their shares."""
    priced.use(node="node-b", deployment="code", model_served="n")
    priced.charge("40", capacity_reservation_id="cr-1")
    priced.link("cr-1", "node-a", 0.25)
    priced.link("cr-1", "node-b", 0.75)
    priced.price()

    assert (10.0, 30.0, ("usage", "pool")) == (model_cost(priced), model_cost(priced, "n"), line(priced))


def test_machines_without_a_name_pay_for_the_nodes_of_their_kind(priced: Priced) -> None:
    """Charges of a machine type reach the account's nodes of that type in the region, by GPU time."""
    priced.use(node="node-b", gpu_hours=4, deployment="code", model_served="n")
    priced.use(node="far", region="eu-west-1", deployment="far", model_served="f")
    priced.charge("24", instance_type="p5.48xlarge")
    priced.price()

    assert (16.0, 8.0, None) == tuple(model_cost(priced, model) for model in ("m", "n", "f"))
    assert ("usage", "account_sku_region") == line(priced)


def test_a_linked_machine_does_not_pay_for_the_others_of_its_kind(priced: Priced) -> None:
    """A node that has a charge of its own takes no part in the pool of machines without a name."""
    priced.use(node="node-b", deployment="code", model_served="n")
    priced.charge("16", resource_id="i-1", instance_type="p5.48xlarge")
    priced.charge("9", resource_id="i-2", instance_type="p5.48xlarge")
    priced.link("i-1", "node-a")
    priced.price()

    assert (16.0, 9.0) == (model_cost(priced), model_cost(priced, "n"))


def test_billed_machines_that_nobody_saw_are_unobserved(priced: Priced) -> None:
    """Of two billed machines of which one has an agent, half the cost and 8 GPU-hours are unobserved."""
    priced.instance_type("p5.48xlarge", "H100", 8)
    for name in ("i-1", "i-2"):
        priced.charge("16", resource_id=name, instance_type="p5.48xlarge", consumed_quantity=1, consumed_unit="Hours")
    priced.price()

    found = priced.one(
        "select effective_cost, gpu_seconds_paid / 3600, reasons from marts.hourly_economics "
        "where model = '(unobserved)'"
    )
    assert (16.0, 8.0, ["billed_but_not_seen"]) == found
    assert 16.0 == model_cost(priced)


def test_the_part_of_an_hour_that_nobody_saw_is_unobserved() -> None:
    """A node whose agent began at half past is billed for the hour; the model pays for the half that was seen."""
    priced = Priced()
    priced.use(gpu_hours=4)
    priced.instance_type("p5.48xlarge", "H100", 8)
    priced.charge("16", resource_id="i-1", instance_type="p5.48xlarge", consumed_quantity=1, consumed_unit="Hours")
    priced.link("i-1", "node-a")
    priced.price()

    assert (8.0, 8.0) == (model_cost(priced), model_cost(priced, "(unobserved)"))


def test_what_is_negated_and_booked_anew_is_one_machine(priced: Priced) -> None:
    """A correction that takes a machine's hour back and books it anew leaves one hour of one machine."""
    priced.instance_type("p5.48xlarge", "H100", 8)
    for amount, quantity in (("16", 1), ("-16", -1), ("12", 1)):
        priced.charge(
            amount, resource_id="i-1", instance_type="p5.48xlarge", consumed_quantity=quantity, consumed_unit="Hours"
        )
    priced.price()

    assert [(8.0, 12.0)] == priced.rows(
        "select sum(gpu_seconds_paid) / 3600, sum(effective_cost) from marts.hourly_economics"
    )


@pytest.mark.parametrize(
    ("columns", "line", "model"),
    [
        ({"charge_category": "Tax"}, "overhead", "(overhead)"),
        ({"service_category": "Storage"}, "overhead", "(overhead)"),
        ({"service_category": "Networking"}, "overhead", "(overhead)"),
        ({"service_name": "Business Support"}, "overhead", "(overhead)"),
        ({"charge_category": "Purchase"}, "overhead", "(overhead)"),
        ({"charge_category": "Credit"}, "credit", "(overhead)"),
        ({"charge_category": "Adjustment"}, "adjustment", "(overhead)"),
        ({"commitment_discount_status": "Unused"}, "unused_commitment", "(unused_commitment)"),
        ({"capacity_reservation_status": "Unused"}, "unused_capacity", "(unused_commitment)"),
        ({"resource_id": "vm-without-gpus", "instance_type": "m7.large"}, "unallocated", "(unallocated)"),
    ],
)
def test_a_charge_that_reaches_no_gpu_is_a_line_of_its_own(columns: dict[str, Any], line: str, model: str) -> None:
    """Nothing of a bill is dropped: what no GPU explains stands under its own name."""
    priced = Priced()
    priced.charge("3", **columns)
    priced.price()

    assert [(line, 3.0)] == priced.rows("select line, reporting_cost from hourly.charge_lines")
    assert [(model, 3.0, 3.0)] == priced.rows("select model, effective_cost, all_in_cost from marts.hourly_economics")


def test_a_rate_card_prices_what_no_bill_covers(priced: Priced) -> None:
    """Without a delivery, GPU-hours times the rate are an estimate, and say so."""
    priced.rate("rate_card", 2.5, provider="aws", gpu_sku="H100")
    priced.price()

    assert (20.0, "estimated_rate_card", 1.0) == priced.one(
        "select effective_cost, cost_status, estimated_cost_share from marts.hourly_cost_per_token"
    )


def test_a_rate_card_never_adds_to_a_bill_that_did_not_join(priced: Priced) -> None:
    """Where a delivery covers the hour and no charge reaches the node, its cost is unknown, not estimated."""
    priced.rate("rate_card", 2.5, provider="aws", gpu_sku="H100")
    priced.charge("16", resource_id="unknown-machine")
    report = priced.price()

    assert (None, ["no_matching_charge"]) == priced.one(
        "select effective_cost, cost_reasons from marts.hourly_economics where model = 'm'"
    )
    assert ["bills_reach_their_nodes"] == [finding.check for finding in report.warnings]
    assert 16.0 == priced.one("select sum(effective_cost) from marts.hourly_economics")


def test_the_rate_that_names_more_wins() -> None:
    """A rate for the account and machine type is taken before one for the provider's product."""
    priced = Priced()
    priced.use()
    priced.rate("rate_card", 9.0)
    priced.rate("rate_card", 3.0, provider="aws", gpu_sku="H100")
    priced.rate("rate_card", 2.0, provider="aws", account="acct", instance_type="p5.48xlarge")
    priced.rate("rate_card", 1.0, provider="aws", account="other")
    priced.price()

    assert 16.0 == model_cost(priced)


def test_a_rate_holds_from_its_date_on(priced: Priced) -> None:
    """The rate of an hour is the newest that began by then, not one of later."""
    priced.rate("rate_card", 2.0, scope="h100", gpu_sku="H100")
    priced.rate("rate_card", 3.0, scope="h100", gpu_sku="H100", valid_from_at=H0 + HOUR)
    priced.use(hour_at=H0 + HOUR)
    priced.price(H0, H0 + HOUR)

    assert [(16.0,), (24.0,)] == priced.rows("select effective_cost from marts.hourly_economics order by hour_at")


def test_without_a_rate_the_cost_is_unknown_and_never_zero(priced: Priced) -> None:
    """A GPU without bill and rate has no cost, and the reason is beside it."""
    priced.tokens(9, 1)
    priced.price()

    assert (None, None, None, ["rate_missing"], "(unknown)") == priced.one(
        "select effective_cost, all_in_cost, cost_per_million_tokens, reasons, cost_status "
        "from marts.hourly_cost_per_token"
    )


def test_the_rest_of_an_hour_that_a_bill_does_not_reach_is_estimated(priced: Priced) -> None:
    """A bill complete up to half past is charged for that half; the other half is on the rate card."""
    priced.delivery(data_until_at=H0 + HOUR / 2)
    priced.charge("8", resource_id="i-1", charge_period_end_at=H0 + HOUR / 2)
    priced.link("i-1", "node-a")
    priced.rate("rate_card", 3.0)
    priced.price()

    assert (8.0 + 4 * 3.0, 12.0, "estimated_rate_card") == priced.one(
        "select effective_cost, estimated_cost, cost_status from marts.hourly_economics"
    )


@pytest.mark.parametrize("columns", [{"data_until_at": H0 - HOUR}, {"data_until_at": None}])
def test_an_hour_after_the_end_of_the_data_is_estimated(priced: Priced, columns: dict[str, Any]) -> None:
    """A delivery covers its period no further than its data go; one without rows that says nothing covers nothing."""
    priced.delivery(**columns)
    priced.rate("rate_card", 2.0)
    priced.price()

    assert 16.0 == model_cost(priced)


def test_a_delivery_that_does_not_say_how_far_it_goes_covers_its_rows(priced: Priced) -> None:
    """Without an end of its own, a delivery reaches as far as its last row."""
    priced.delivery(data_until_at=None)
    priced.charge("16", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.rate("rate_card", 3.0)
    priced.use(hour_at=H0 + HOUR)
    priced.price(H0, H0 + HOUR)

    assert [(16.0,), (24.0,)] == priced.rows("select effective_cost from marts.hourly_economics order by hour_at")


def test_the_account_that_pays_covers_the_accounts_within_it(priced: Priced) -> None:
    """A node that names its sub-account belongs to the account that is billed for it."""
    priced.charge("16", account="payer", sub_account="acct", instance_type="p5.48xlarge")
    priced.rate("rate_card", 9.0)
    priced.price()

    assert [("payer", 16.0)] == priced.rows("select account, effective_cost from hourly.unit_economics")


def test_a_node_without_an_account_is_not_priced_twice() -> None:
    """Where a provider has several bills and a node does not know its account, no rate card is added to them."""
    priced = Priced()
    priced.use(account="(unknown)")
    priced.rate("rate_card", 9.0)
    for account in ("a", "b"):
        priced.charge("5", delivery_id=account, account=account)
    priced.price()

    assert (None, ["account_unknown"]) == priced.one(
        "select effective_cost, cost_reasons from marts.hourly_economics where model = 'm'"
    )


def test_another_currency_is_converted_at_the_rate_of_its_date(priced: Priced) -> None:
    """Euros become dollars at the newest rate that began by the hour."""
    priced.rate("exchange_rate", 1.25, scope="EUR/USD", currency="EUR", to_currency="USD")
    priced.rate("exchange_rate", 9.0, scope="EUR/USD", currency="EUR", to_currency="USD", valid_from_at=H0 + HOUR)
    priced.charge("16", resource_id="i-1", billing_currency="EUR")
    priced.link("i-1", "node-a")
    priced.price()

    assert (20.0, "USD") == priced.one("select effective_cost, currency from marts.hourly_economics")
    assert (Decimal(16), "EUR", 20.0) == priced.one(
        "select numerator_cost, billing_currency, reporting_cost from hourly.charge_lines"
    )


@pytest.mark.parametrize(("currency", "reason"), [("EUR", "no_exchange_rate"), ("Tokens", "virtual_currency")])
def test_money_without_a_rate_is_kept_apart(priced: Priced, currency: str, reason: str) -> None:
    """What no rate converts is never added to the rest; it is shown in its own currency."""
    priced.charge("16", resource_id="i-1", billing_currency=currency)
    priced.link("i-1", "node-a")
    priced.price()

    assert (None, [reason]) == priced.one("select effective_cost, cost_reasons from marts.hourly_economics")
    assert (currency, 16.0, 16.0) == priced.one(
        "select currency, charges_cost, unconverted_cost from marts.cost_reconciliation where view = 'effective'"
    )


def test_a_bill_whose_effective_cost_is_useless_is_priced_by_what_is_billed(priced: Priced) -> None:
    """The numerator is the delivery's, and the line says which."""
    priced.delivery(numerator="billed", numerator_reason="rounded")
    priced.charge("2", billed="1.624", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.price()

    assert ("billed", Decimal("1.624")) == priced.one("select numerator, numerator_cost from hourly.charge_lines")


@pytest.mark.parametrize(
    ("columns", "closed", "status"),
    [({}, False, "provisional_bill"), ({"invoice_id": "INV-1"}, False, "invoiced"), ({}, True, "invoiced")],
)
def test_a_charge_is_invoiced_by_its_invoice_or_by_a_closed_period(
    priced: Priced, columns: dict[str, Any], closed: bool, status: str
) -> None:
    """The rung of a charge is provisional until an invoice or the delivery says otherwise."""
    priced.delivery(is_closed=closed)
    priced.charge("16", resource_id="i-1", **columns)
    priced.link("i-1", "node-a")
    priced.price()

    assert status == priced.one("select cost_status from marts.hourly_economics")


def test_a_cell_is_on_the_lowest_rung_of_its_lines(priced: Priced) -> None:
    """One provisional charge makes the cell provisional, and the sums say how much of it is invoiced."""
    priced.charge("16", resource_id="i-1", invoice_id="INV-1")
    priced.charge("4", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.price()

    assert ("provisional_bill", 4.0, 16.0) == priced.one(
        "select cost_status, provisional_cost, invoiced_cost from marts.hourly_economics"
    )


def test_a_tariff_adds_nothing_to_a_cloud(priced: Priced) -> None:
    """The price of a cloud's machine contains its electricity."""
    priced.rate("tariff", 0.08)
    priced.rate("rate_card", 2.0)
    priced.price()

    assert (16.0, None) == priced.one("select effective_cost, energy_cost from marts.hourly_cost_per_token")


amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=12)
seconds = st.integers(min_value=0, max_value=12 * 3600)


@settings(max_examples=8, deadline=None)
@given(charges=st.lists(st.tuples(amounts, seconds, seconds), min_size=1, max_size=8))
def test_the_hours_of_a_charge_add_up_to_it_exactly(charges: list[tuple[Decimal, int, int]]) -> None:
    """Whatever the amounts and the cuts, the parts of every row over its hours are the row, to the last trillionth."""
    priced = Priced()
    priced.use()
    priced.link("i-1", "node-a", 0.3)
    priced.link("i-1", "node-b", 0.7)
    for number, (amount, first, last) in enumerate(charges):
        start, end = DAY + timedelta(seconds=min(first, last)), DAY + timedelta(seconds=max(first, last) + 1)
        resource = "i-1" if number % 2 else None
        priced.charge(str(amount), charge_period_start_at=start, charge_period_end_at=end, resource_id=resource)
    report = priced.price(*(DAY + number * HOUR for number in range(13)))

    sums = priced.rows("select row_number, sum(numerator_cost) from hourly.charge_lines group by all order by all")
    assert [(number, amount) for number, (amount, _, _) in enumerate(charges, 1)] == sums
    assert () == report.withheld
