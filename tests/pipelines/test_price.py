"""Pricing as the build calls it: in batches, in one transaction, for whatever hours."""

from datetime import UTC, timedelta
from typing import Any

import pytest

from tests.priced import H0, HOUR, Priced
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import BuildSettings
from tokenmill_pipeline.price import price_hours


def test_no_hours_is_no_work() -> None:
    """Pricing nothing does nothing."""
    priced = Priced()

    assert () == price_hours(priced.connection, [], now=H0, build=BuildSettings()).hours


def test_hours_are_priced_in_batches_and_reported_in_order() -> None:
    """More hours than a batch holds, given in any order and twice, are each priced once."""
    priced = Priced(build=BuildSettings(hours_per_batch=2))
    hours = [H0 + number * HOUR for number in (4, 0, 2, 1, 0, 90)]
    for hour in set(hours):
        priced.use(hour_at=hour)
    report = priced.price(*hours)

    assert tuple(sorted(set(hours))) == report.hours
    assert 5 == len(report.revisions)
    assert 5 == priced.one("select count(*) from marts.hourly_economics")


def test_hours_with_a_zone_are_read_as_utc() -> None:
    """An hour of a caller that keeps zones is the same hour."""
    priced = Priced()
    priced.use()
    report = priced.price(H0.replace(tzinfo=UTC), now=H0.replace(tzinfo=UTC) + timedelta(days=1))

    assert (H0,) == report.hours
    assert H0 + timedelta(days=1) == priced.one("select recorded_at from hourly.revisions")


def test_a_failed_batch_leaves_nothing_behind() -> None:
    """What is rolled back leaves charge lines, revisions and marts as they were."""
    priced = Priced()
    priced.use()
    tables = ("hourly.charge_lines", "hourly.revisions", "hourly.unit_economics", "marts.hourly_economics")

    def broken() -> None:
        with warehouse.transaction(priced.connection):
            price_hours(priced.connection, [H0], now=H0 + HOUR, build=BuildSettings())
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        broken()
    assert [0] * len(tables) == [priced.one(f"select count(*) from {table}") for table in tables]


def test_figures_are_in_the_currency_that_the_settings_name() -> None:
    """Every amount of the marts is converted into the reporting currency."""
    priced = Priced(build=BuildSettings(reporting_currency="EUR"))
    priced.use()
    priced.rate("rate_card", 2.0)
    priced.rate("exchange_rate", 0.5, to_currency="EUR")
    priced.price()

    assert (8.0, "EUR") == priced.one("select effective_cost, currency from marts.hourly_economics")


def test_the_order_of_rows_changes_no_figure() -> None:
    """Two warehouses with the same rows in another order have the same content, to the last bit."""
    digests = []
    for order in (1, -1):
        priced = Priced()
        for number in list(range(7))[::order]:
            unit: dict[str, Any] = {"deployment": f"d{number}", "replica": "r", "node": f"node-{number % 3}"}
            priced.use(gpu_hours=0.1 + number / 3, joules=1e6 / 3 * (number + 1), **unit)
        for number in list(range(7))[::order]:
            priced.charge(f"{(number + 1) * 1.1:.3f}", row_number=number, instance_type="p5.48xlarge")
        priced.charge("7.77", row_number=99, charge_category="Tax")
        priced.price()
        digests.append(priced.one("select content_digest from hourly.revisions"))

    assert digests[0] == digests[1]
