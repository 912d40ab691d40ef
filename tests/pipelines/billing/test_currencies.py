"""Telling money from a provider's own unit."""

import pytest

from tokenmill_pipeline.billing import currencies


@pytest.mark.parametrize("code", ["USD", "eur", "JPY", "ZWG"])
def test_codes_of_iso_4217_are_money(code: str) -> None:
    """Written in any case."""
    assert currencies.is_currency(code)


@pytest.mark.parametrize("code", ["Token", "CREDIT", "", "US", "XYZ"])
def test_anything_else_is_a_virtual_currency(code: str) -> None:
    """A provider's token is not money."""
    assert not currencies.is_currency(code)


def test_the_currencies_held_to_a_range_are_money() -> None:
    """The list of currencies near a dollar holds only real ones."""
    assert currencies.NEAR_PARITY < currencies.ISO_4217
