"""The agent's README lists every setting with its default, and every metric, as the code has them."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent.config import AgentSettings, SimulateSettings
from tokenmill_agent.host.settings import HostSettings
from tokenmill_agent.placement.settings import PlacementSettings
from tokenmill_agent.records import Identity
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.telemetry import METRICS

README = (Path(__file__).parents[2] / "agents" / "README.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading."""
    section = README.split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def shown(value: Any) -> str:
    """Return a default as the README writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


def default(field: "dataclasses.Field[Any]") -> str:
    """Return how the README shows a field's default."""
    if field.name in ("host", "identity", "simulate"):
        return "table"
    if field.name in ("servers", "placements"):
        return "list"
    if field.default_factory is not dataclasses.MISSING:
        return shown(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else shown(field.default)


@pytest.mark.parametrize(
    ("heading", "settings"),
    [
        ("### `[agent]`", AgentSettings),
        ("### `[agent.host]`", HostSettings),
        ("### `[agent.identity]`", Identity),
        ("### `[agent.simulate]`", SimulateSettings),
        ("### `[[agent.servers]]`", ServerSettings),
        ("### `[[agent.placements]]`", PlacementSettings),
        ("### `[kafka]`", KafkaSettings),
    ],
)
def test_every_setting_is_listed_with_its_default(heading: str, settings: type) -> None:
    """In the order of the code, and none that is not there."""
    expected = [(f"`{field.name}`", default(field)) for field in dataclasses.fields(settings)]

    assert expected == [(key, value) for key, value, _ in rows(heading)]


def test_every_metric_is_listed() -> None:
    """With its labels and its help."""
    expected = [[f"`{metric.name}`", ", ".join(metric.labels), metric.help] for metric in METRICS]

    assert expected == rows("## Its own metrics")
