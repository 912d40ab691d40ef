"""The agent as a program: Kafka is away, hangs, refuses or lacks its topics, the agent is killed, the disk is full."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.agent_process import AgentProcess, arrived, gap_us, spooled
from tests.kafka_broker import KafkaBroker, _free_ports
from tokenmill_agent.settings import KafkaSettings

TOPIC = KafkaSettings().gpu_power_topic
MEMORY_GROWTH_BYTES = 8 * 1024 * 1024
FREE_BYTES = 24 * 1024


@pytest.fixture
def started() -> Iterator[list[AgentProcess]]:
    """Return a list of agents; those that still run at the end of the test are killed."""
    agents: list[AgentProcess] = []
    yield agents
    for agent in agents:
        if agent.process.poll() is None:
            agent.end(signal.SIGKILL)


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of one megabyte that is full but for a few kilobytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tokenmill-test", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    (path / "filler").write_bytes(b"x" * (1024 * 1024 - FREE_BYTES))
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def sequences(messages: list[dict[str, Any]]) -> list[int]:
    """Return the sequences of messages."""
    return [message["sequence"] for message in messages]


def test_nobody_answers_and_nothing_waits_for_it(tmp_path: Path, started: list[AgentProcess]) -> None:
    """Messages go to disk in order while sampling goes on and memory stays flat; a kill then loses none of them."""
    (port,) = _free_ports(1)
    hold_out(AgentProcess(tmp_path / "agent", {"bootstrap_servers": [f"127.0.0.1:{port}"]}), started)


def test_a_broker_that_hangs_holds_nothing_up(tmp_path: Path, started: list[AgentProcess], silent: str) -> None:
    """A connection on which nobody ever answers is the same as no connection."""
    hold_out(AgentProcess(tmp_path / "agent", {"bootstrap_servers": [silent]}), started)


@pytest.mark.kafka
def test_a_wrong_password_holds_nothing_up(kafka: KafkaBroker, tmp_path: Path, started: list[AgentProcess]) -> None:
    """A broker that refuses is asked now and then, and the log says once what to check."""
    (tmp_path / "password").write_text("wrong")
    settings = {
        "bootstrap_servers": [kafka.sasl_bootstrap or pytest.skip("this broker has no SASL listener")],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "admin",
        "sasl_password_file": str(tmp_path / "password"),
    }
    agent = AgentProcess(tmp_path / "agent", settings)
    hold_out(agent, started)

    assert "sasl_username and the password" in agent.log()


@pytest.mark.kafka
def test_missing_topics_hold_nothing_up(kafka: KafkaBroker, tmp_path: Path, started: list[AgentProcess]) -> None:
    """Topics that nobody created are named, with the command that creates them."""
    # Other tests may have created the topics of the default names on this broker.
    names = {"gpu_power_topic": "never-made-power", "token_counters_topic": "never-made-tokens"}
    agent = AgentProcess(tmp_path / "agent", {"bootstrap_servers": [kafka.bootstrap], **names})
    hold_out(agent, started, topic="never-made-power")

    assert "create it with `tokenmill topics create`" in agent.log()


def hold_out(agent: AgentProcess, started: list[AgentProcess], *, topic: str = TOPIC) -> None:
    """Let an agent that cannot deliver work, kill it, and look at what is on its disk."""
    started.append(agent)
    agent.wait_until(lambda: agent.value("spool_messages") >= 10)
    before_bytes = agent.resident_bytes()
    agent.wait_until(lambda: agent.value("spool_messages") >= 50)
    growth_bytes = agent.resident_bytes() - before_bytes
    dropped = agent.value("messages_dropped_total")
    agent.end(signal.SIGKILL)
    kept = spooled(agent.state_dir, topic)

    assert list(range(len(kept))) == sequences(kept)
    assert 0 == gap_us(kept)
    assert 0 == dropped
    assert growth_bytes < MEMORY_GROWTH_BYTES


@pytest.mark.kafka
def test_a_kill_while_kafka_is_away_loses_nothing_that_was_spooled(
    own_kafka: KafkaBroker, kafka_settings: KafkaSettings, tmp_path: Path, started: list[AgentProcess]
) -> None:
    """The next run sends, in order and beside its own, what the killed one left; a gap shows by the sequences."""
    settings = {
        "bootstrap_servers": list(kafka_settings.bootstrap_servers),
        "gpu_power_topic": kafka_settings.gpu_power_topic,
        "token_counters_topic": kafka_settings.token_counters_topic,
    }
    own_kafka.stop()
    try:
        first = AgentProcess(tmp_path / "agent", settings)
        started.append(first)
        first.wait_until(lambda: first.value("spool_messages") >= 20)
        kept = first.value("spool_messages")
        first.end(signal.SIGKILL)
        second = AgentProcess(tmp_path / "agent", settings)
        started.append(second)
        second.wait_until(lambda: second.value("spool_messages") > kept)
    finally:
        own_kafka.start()
    second.wait_until(lambda: second.value("messages_delivered_total") > kept and not second.value("spool_messages"))

    assert 0 == second.end(signal.SIGTERM)

    found = arrived(own_kafka.bootstrap, kafka_settings.gpu_power_topic)
    of_run: dict[str, list[dict[str, Any]]] = {}
    for _, message in found:
        of_run.setdefault(message["run_id"], []).append(message)
    (_, old), (new_id, new) = of_run.items()

    assert list(range(len(old))) == sequences(old)
    assert {"spooled"} == {how for how, message in found if message["run_id"] != new_id}
    assert list(range(len(new))) == sorted(set(sequences(new)))
    assert (old[0]["run_id"], True) == (new[0]["previous_run_id"], new[0]["previous_last_sequence"] >= len(old) - 1)
    assert [0, 0] == [gap_us(old), gap_us(sorted(new, key=lambda message: int(message["sequence"])))]


@pytest.mark.kafka
def test_a_broker_that_goes_and_comes_back_costs_nothing(
    own_kafka: KafkaBroker, kafka_settings: KafkaSettings, tmp_path: Path, started: list[AgentProcess]
) -> None:
    """Every message of the run arrives, whatever was in flight when the broker was killed."""
    settings = {
        "bootstrap_servers": list(kafka_settings.bootstrap_servers),
        "gpu_power_topic": kafka_settings.gpu_power_topic,
        "token_counters_topic": kafka_settings.token_counters_topic,
    }
    agent = AgentProcess(tmp_path / "agent", settings)
    started.append(agent)
    agent.wait_until(lambda: agent.value("messages_delivered_total") >= 4)
    own_kafka.kill()
    try:
        agent.wait_until(lambda: agent.value("queue_messages") + agent.value("spool_messages") >= 10)
    finally:
        own_kafka.start()
    agent.wait_until(lambda: not agent.value("spool_messages") and agent.value("queue_messages") <= 2)

    assert 0 == agent.end(signal.SIGTERM)

    messages = [message for _, message in arrived(own_kafka.bootstrap, kafka_settings.gpu_power_topic)]
    messages.sort(key=lambda message: int(message["sequence"]))

    assert list(range(messages[-1]["sequence"] + 1)) == sorted(set(sequences(messages)))
    assert 0 == gap_us(messages)


def test_a_full_disk_drops_the_oldest_and_counts_it(
    tmp_path: Path, started: list[AgentProcess], small_disk: Path
) -> None:
    """What is newest is on the full disk, whole and in order, also after a kill; sampling went on."""
    (port,) = _free_ports(1)
    agent = AgentProcess(tmp_path / "agent", {"bootstrap_servers": [f"127.0.0.1:{port}"]}, small_disk)
    started.append(agent)
    agent.wait_until(lambda: agent.value("messages_dropped_total") > 0)
    dropped = agent.value("messages_dropped_total")
    agent.wait_until(lambda: agent.value("spool_messages") >= 2)
    agent.end(signal.SIGKILL)
    kept = spooled(small_disk, TOPIC)

    assert 0 < dropped
    assert 0 < kept[0]["sequence"]
    assert list(range(kept[0]["sequence"], kept[-1]["sequence"] + 1)) == sequences(kept)
    assert 0 == gap_us(kept)
