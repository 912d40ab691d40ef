"""Tests of reading tables and variables into settings."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent.config import load
from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import KafkaSettings, section


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Settings of a test."""

    data_dir: str = "data"
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    kafka: KafkaSettings = dataclasses.field(default_factory=KafkaSettings)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"pipeline": 3}, "[pipeline]: expected a table, got 3"),
        ({"pipeline": {"labels": 3}}, "[pipeline] labels: expected a table, got 3"),
        ({"pipeline": {"kafka": [1]}}, "[pipeline] kafka: expected a table, got [1]"),
    ],
)
def test_a_value_in_place_of_a_table_is_refused(tables: dict[str, Any], message: str) -> None:
    """The error says where a table belongs, and what stands there."""
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        section(Shelf, "pipeline", tables, environ={})


def test_a_value_in_place_of_the_agents_table_is_refused_with_flags(tmp_path: Path) -> None:
    """Flags for a nested table are not joined to something that is no table."""
    path = tmp_path / "tokenmill.toml"
    path.write_text("agent = 3\n")
    with pytest.raises(UsageError, match=r"^\[agent\]: expected a table, got 3$"):
        load(path, environ={}, agent_flags={"simulate": {"seed": 2}}, kafka_flags={})


def test_an_unknown_variable_of_the_table_is_refused() -> None:
    """A misspelt variable would be silently ignored; the nearest known one is named."""
    with pytest.raises(
        UsageError,
        match=r'^TOKENMILL_PIPELINE_DATADIR: \[pipeline\] has no such key .*"TOKENMILL_PIPELINE_DATA_DIR"',
    ):
        section(Shelf, "pipeline", {}, environ={"TOKENMILL_PIPELINE_DATADIR": "x"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOKENMILL_CONFIG", "x.toml"),
        ("TOKENMILL_TEST_KAFKA", "x"),
        ("TOKENMILL_AGENT_NOED", "of another table"),
        ("TOKENMILL_KAFKA_SASL_PASSWORD", "secret"),
        ("TOKENMILL_KAFKA_SERVICE_HOST", "10.0.0.1"),
        ("TOKENMILL_KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("TOKENMILL_KAFKA_PORT", "tcp://10.0.0.1:9092"),
    ],
)
def test_variables_that_are_no_keys_of_the_table_are_left_alone(variable: str, value: str) -> None:
    """The password, other tables, and what a cluster sets beside a service of that name."""
    assert KafkaSettings() == section(KafkaSettings, "kafka", {}, environ={variable: value})
