"""Settings: file, environment over it, flags over both, and one clear line for what cannot be right."""

from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent.config import AgentSettings, Config, SimulateSettings, load
from tokenmill_agent.errors import UsageError


def loaded(tmp_path: Path, text: str, *, environ: dict[str, str] | None = None, **agent_flags: Any) -> Config:
    """Return what a file, an environment and flags give."""
    path = tmp_path / "tokenmill.toml"
    path.write_text(text)
    return load(path, environ=environ or {}, agent_flags=agent_flags, kafka_flags={})


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    """The node is called as its host."""
    config = loaded(tmp_path, "")

    assert AgentSettings() == config.agent
    assert config.node


def test_every_table_is_read(tmp_path: Path) -> None:
    """Nested tables and lists of tables become settings of their own."""
    config = loaded(
        tmp_path,
        """
        [kafka]
        bootstrap_servers = ["kafka:9092"]
        [agent]
        node = "gpu-7"
        send_interval_seconds = 60
        [agent.identity]
        provider = "ExampleCloud"
        [[agent.servers]]
        url = "http://127.0.0.1:8000"
        [[agent.placements]]
        gpus = ["0-3"]
        deployment = "llama"
        replica = "llama-0"
        [agent.simulate]
        scenarios = ["hopper"]
        """,
    )

    assert ("gpu-7", 60.0, "ExampleCloud") == (
        config.node,
        config.agent.send_interval_seconds,
        config.agent.identity.provider,
    )
    assert ("http://127.0.0.1:8000", ("0-3",)) == (config.agent.servers[0].url, config.agent.placements[0].gpus)
    assert (("kafka:9092",), ("hopper",)) == (config.kafka.bootstrap_servers, config.agent.simulate.scenarios)


def test_the_environment_wins_over_the_file_and_a_flag_over_both(tmp_path: Path) -> None:
    """A flag that was not given changes nothing."""
    text = "[agent]\nnode = 'file'\nsink = 'kafka'\ntelemetry_port = 1"
    environ = {"TOKENMILL_AGENT_NODE": "environment", "TOKENMILL_AGENT_TELEMETRY_PORT": "2"}
    config = loaded(tmp_path, text, environ=environ, node="flag", sink=None)

    assert ("flag", "kafka", 2) == (config.agent.node, config.agent.sink, config.agent.telemetry_port)


def test_a_flag_for_one_key_of_the_simulation_keeps_the_others(tmp_path: Path) -> None:
    """--simulate-seed does not forget the scenarios of the file."""
    config = loaded(tmp_path, "[agent.simulate]\nscenarios = ['hopper']", simulate={"seed": 9, "since": None})

    assert SimulateSettings(scenarios=("hopper",), seed=9) == config.agent.simulate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\nsample_intervall_seconds = 1", 'unknown key "sample_intervall_seconds".*"sample_interval_seconds"'),
        ("[agents]", r"unknown table \[agents\].*agent"),
        ("[agent", "is not TOML"),
        ("[agent]\nsample_interval_seconds = 0", "sample_interval_seconds is 0.0, expected more than 0"),
        (
            "[agent]\nrow_interval_seconds = 0.5",
            "row_interval_seconds is 0.5, expected at least sample_interval_seconds",
        ),
        ("[agent]\nsample_interval_seconds = 5", "max_power_gap_seconds is 3.0, expected at least"),
        ("[agent]\ntelemetry_port = 70000", "telemetry_port is 70000"),
        ("[agent]\nsink = 'kafka2'", "sink is 'kafka2', expected kafka or stdout"),
        ("[agent]\ngpus = 'nvmll'", "gpus is 'nvmll', expected nvml or none, did you mean \"nvml\""),
        ("[agent]\nmax_queue_bytes = 0", "max_queue_bytes is 0, expected 1 or more"),
        ("[agent]\nmax_spool_bytes = -1", "max_spool_bytes is -1, expected 0 or more"),
        ("[agent]\nsimulate = 5", "simulate"),
        ("[agent.simulate]\nscenarios = ['hoper']", 'hoper.*did you mean "hopper"'),
        ("[agent.identity]\nprovder = 'x'", 'unknown key "provder"'),
        ("[[agent.servers]]\nurl = 'ftp://x'", "expected http"),
    ],
)
def test_what_cannot_be_right_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """It names the key, the value and what is allowed, on exit code 2."""
    with pytest.raises(UsageError, match=message) as raised:
        loaded(tmp_path, text)

    assert "\n" not in str(raised.value)
    assert 2 == raised.value.exit_code


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path is in the line."""
    with pytest.raises(UsageError, match=r"nothing\.toml"):
        load(tmp_path / "nothing.toml", environ={}, agent_flags={}, kafka_flags={})
