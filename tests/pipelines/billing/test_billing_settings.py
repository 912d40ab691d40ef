"""The settings of billing, read as the configuration file has them."""

from pathlib import Path

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import section
from tokenmill_pipeline.billing.settings import BillingSettings


def test_the_inbox_and_the_names_of_providers_are_configured() -> None:
    """A table of names inside the table."""
    tables = {"billing": {"inbox_dir": "/srv/bills", "provider_names": {"Aura Web": "aura"}}}

    settings = section(BillingSettings, "billing", tables, environ={})

    assert (Path("/srv/bills"), {"Aura Web": "aura"}) == (settings.inbox_dir, settings.provider_names)


def test_an_unknown_key_is_an_error() -> None:
    """With the nearest one that is known."""
    with pytest.raises(UsageError, match='unknown key "inbox", did you mean "inbox_dir"'):
        section(BillingSettings, "billing", {"billing": {"inbox": "x"}}, environ={})
