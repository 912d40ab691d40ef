"""Settings of the pipeline that cannot be right."""

from typing import Any

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import section
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings


@pytest.mark.parametrize(
    ("settings", "name", "table", "said"),
    [
        (BuildSettings, "build", {"reporting_currency": "Dollar"}, "'Dollar' is no ISO 4217 code"),
        (BuildSettings, "build", {"hours_per_batch": 0}, r"\[build\] hours_per_batch: expected 1 or more, got 0"),
        (BuildSettings, "build", {"grace_seconds": -5}, r"\[build\] grace_seconds: expected 0 or more, got -5"),
        (PipelineSettings, "pipeline", {"threads": 0}, r"\[pipeline\] threads: expected 1 or more"),
        (
            FleetSettings,
            "fleet",
            {"overrides": [{"node": "n1", "field": "provder", "value": "x"}]},
            'unknown "provder", did you mean "provider"',
        ),
        (
            FleetSettings,
            "fleet",
            {"overrides": [{"node": "n1", "field": "gpu_count", "value": "eight"}]},
            "gpu_count of n1 is a number",
        ),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(
    settings: type[Any], name: str, table: dict[str, Any], said: str
) -> None:
    """One sentence names the table, the key and what was expected; nothing is built with it."""
    with pytest.raises(UsageError, match=said):
        section(settings, name, {name: table}, environ={})


def test_the_defaults_are_right() -> None:
    """Without a file every table has its defaults."""
    assert "USD" == section(BuildSettings, "build", {}, environ={}).reporting_currency
    assert () == section(FleetSettings, "fleet", {}, environ={}).overrides
    assert 2 == section(PipelineSettings, "pipeline", {}, environ={}).threads
