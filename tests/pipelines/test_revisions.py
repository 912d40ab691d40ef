"""An hour's figures change only as a new revision that says why, and every earlier one stays."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.priced import H0, HOUR, Priced
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import BuildSettings
from tokenmill_pipeline.price import advance_states

AFTER_PERIOD = datetime(2026, 12, 11, 1)  # noqa: DTZ001 - the warehouse keeps UTC without a zone


@pytest.fixture
def priced() -> Priced:
    """Return a warehouse with one unit whose node a rate card prices."""
    found = Priced()
    found.use()
    found.tokens(8_000_000, 2_000_000)
    found.rate("rate_card", 2.0)
    return found


def history(priced: Priced) -> list[tuple[Any, ...]]:
    """Return number, cause and cost of every revision of the first hour."""
    return priced.rows(
        "select r.revision, r.cause, sum(e.effective_cost) from hourly.revisions as r "
        "inner join hourly.unit_economics as e using (hour_at, revision) group by all order by all"
    )


def state(priced: Priced) -> Any:
    """Return the state of the first hour, as the marts have it."""
    return priced.one("select distinct hour_state from marts.hourly_economics")


def bill(priced: Priced, amount: str = "24", **columns: Any) -> None:
    """Deliver a bill that pays for the node."""
    priced.charge(amount, resource_id="i-1", **columns)
    priced.link("i-1", "node-a")


def test_the_first_build_is_revision_one(priced: Priced) -> None:
    """An hour that was never built gets its first revision."""
    report = priced.price()

    assert [(1, "first_build", 16.0)] == history(priced)
    assert [(H0, 1, "first_build", False)] == [
        (made.hour_at, made.revision, made.cause, made.is_restatement) for made in report.revisions
    ]


def test_an_hour_whose_content_is_the_same_gets_no_revision(priced: Priced) -> None:
    """Pricing twice changes nothing."""
    priced.price()
    report = priced.price(now=H0 + 9 * HOUR)

    assert () == report.revisions
    assert 1 == priced.one("select count(*) from hourly.revisions")


def test_an_hour_without_anything_has_no_revision() -> None:
    """Nothing is known of the hour, so nothing is said of it."""
    priced = Priced()

    assert () == priced.price().revisions


def test_a_bill_restates_the_hour_and_the_estimate_stays_readable(priced: Priced) -> None:
    """When the bill comes the estimate becomes an earlier revision."""
    priced.price()
    bill(priced)
    priced.price(now=H0 + 9 * HOUR)

    assert [(1, "first_build", 16.0), (2, "bill_arrived", 24.0)] == history(priced)
    assert [(H0 + 9 * HOUR, None), (None, None)] == [
        (superseded, None)
        for (superseded,) in priced.rows("select superseded_at from hourly.revisions order by revision")
    ]


def test_a_correction_names_the_bill(priced: Priced) -> None:
    """A second charge for the hour is a corrected bill."""
    bill(priced)
    priced.price()
    priced.charge("-4", resource_id="i-1", charge_class="Correction", delivery_id="later")
    priced.price()

    assert [(1, "first_build", 24.0), (2, "corrected_bill", 20.0)] == history(priced)


def test_the_same_bill_delivered_again_changes_nothing(priced: Priced) -> None:
    """A replacing delivery with the same charges makes no revision."""
    bill(priced)
    priced.price()
    priced.connection.execute("update billing.deliveries set superseded_at = now(), superseded_by = 'd2'")
    priced.charge("24", resource_id="i-1", delivery_id="d2")

    assert () == priced.price().revisions


def test_late_telemetry_is_named(priced: Priced) -> None:
    """A token that was landed late restates the hour."""
    priced.price()
    priced.connection.execute("update hourly.unit_tokens set input_tokens = input_tokens + 1")
    (made,) = priced.price().revisions

    assert "late_telemetry" == made.cause


def test_a_changed_rate_is_named(priced: Priced) -> None:
    """Another price of the same GPU is a changed reference."""
    priced.price()
    priced.connection.execute("update reference.prices set amount = 3")
    priced.price()

    assert [(1, "first_build", 16.0), (2, "changed_reference", 24.0)] == history(priced)


def test_two_causes_are_both_named(priced: Priced) -> None:
    """New telemetry beside a reference that was marked as changed: the cause says both."""
    priced.price()
    priced.connection.execute("update hourly.unit_tokens set input_tokens = input_tokens + 1")
    priced.connection.execute("update reference.prices set amount = 3")
    (made,) = priced.price(hints={H0: {"telemetry", "reference"}}).revisions

    assert "late_telemetry+changed_reference" == made.cause


def test_closing_a_period_is_named(priced: Priced) -> None:
    """A bill that is declared closed turns provisional money into invoiced money."""
    bill(priced)
    priced.price()
    priced.connection.execute("update billing.deliveries set is_closed = true")
    (made,) = priced.price().revisions

    assert ("closed", "final") == (made.cause, state(priced))


def test_a_change_after_the_end_is_a_restatement(priced: Priced) -> None:
    """What was final and changes says so, and shows the old and the new figure."""
    bill(priced)
    priced.connection.execute("update billing.deliveries set is_closed = true")
    priced.price()
    priced.charge("-4", resource_id="i-1", delivery_id="later")
    (made,) = priced.price().revisions

    assert made.is_restatement
    assert (True, "corrected_bill", 24.0, 20.0, 10_000_000, 2.4, 2.0, True, False) == priced.one(
        "select is_restatement, cause, old_effective_cost, new_effective_cost, new_total_tokens, "
        "old_cost_per_million_tokens, new_cost_per_million_tokens, is_billing_changed, is_telemetry_changed "
        "from marts.restatements"
    )


def test_an_hour_is_open_until_every_bill_covers_it(priced: Priced) -> None:
    """A provider that sends bills is waited for; the others do not settle the hour without it."""
    priced.delivery(data_until_at=H0 - HOUR)
    priced.price()
    before = state(priced)
    bill(priced, delivery_id="d2")
    priced.price()

    assert ("open", "settled") == (before, state(priced))


def test_a_rate_card_alone_settles_an_hour(priced: Priced) -> None:
    """Who never sent a bill and has a rate card is not waited for."""
    priced.price()

    assert "settled" == state(priced)


def test_without_bill_and_rate_an_hour_stays_open() -> None:
    """Nobody knows what the GPUs cost, so the hour is not settled."""
    priced = Priced()
    priced.use()
    priced.price()

    assert "open" == state(priced)


def test_time_alone_closes_an_hour_without_a_revision(priced: Priced) -> None:
    """Ten days after the billing period the hour is final; its figures are the same, and so is its revision."""
    bill(priced)
    priced.price()
    with warehouse.transaction(priced.connection):
        early = advance_states(priced.connection, now=AFTER_PERIOD - timedelta(days=1), build=BuildSettings())
        late = advance_states(priced.connection, now=AFTER_PERIOD, build=BuildSettings())

    assert ((), (H0,), "final", 1) == (early, late, state(priced), len(history(priced)))
    assert 2 == priced.one("select change_number from ops.changed_hours")


def test_an_hour_that_is_not_asked_for_is_left_alone(priced: Priced) -> None:
    """Restating one hour touches no other."""
    priced.use(hour_at=H0 + HOUR)
    priced.price(H0, H0 + HOUR)
    priced.connection.execute("update reference.prices set amount = 3")
    priced.price(H0)

    assert [(24.0, 2), (16.0, 1)] == priced.rows(
        "select effective_cost, revision from marts.hourly_economics order by hour_at"
    )
    assert [(16.0,)] == priced.rows("select reporting_cost from hourly.charge_lines where hour_at > $1", [H0])
