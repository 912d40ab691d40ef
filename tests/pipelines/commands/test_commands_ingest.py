"""`tokenmill ingest` and `tokenmill topics create` against a broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.commands.conftest import Tokenmill
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import broker, landing
from tokenmill_pipeline.cli import main
from tokenmill_pipeline.demo.history import send_history
from tokenmill_pipeline.demo.plan import Plan
from tokenmill_pipeline.lag import lag_messages

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Iterator[KafkaSettings]:
    """Yield an embedded broker that holds the history of the plan, in topics that the command made."""
    with broker.running(tmp_path_factory.mktemp("broker")) as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOKENMILL_KAFKA_BOOTSTRAP_SERVERS", running.bootstrap)
            assert 0 == main(["--json", "topics", "create", "--partitions", "2"])
        settings = KafkaSettings(bootstrap_servers=(running.bootstrap,))
        send_history(plan, settings, lambda _node, _share: None)
        yield settings


@pytest.fixture
def at_broker(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Return the broker's settings, which the environment names as well."""
    monkeypatch.setenv("TOKENMILL_KAFKA_BOOTSTRAP_SERVERS", ",".join(kafka.bootstrap_servers))
    return kafka


def test_topics_that_exist_are_left_as_they_are(at_broker: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Creating twice changes nothing; what differs from what was asked is said."""
    del at_broker
    assert 0 == main(["--json", "topics", "create", "--partitions", "3"])
    rows = json.loads(capsys.readouterr().out)

    assert [False, False] == [row["created"] for row in rows]
    assert ["has 2 partitions, 3 were asked for"] == rows[0]["notes"][:1]


def test_once_lands_what_is_there(at_broker: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--once` lands everything that the topics hold; the second time there is nothing."""
    reports = []
    waiting = [sum(lag_messages(tmp_path / "landing", at_broker).values())]
    for _ in range(2):
        assert 0 == main(["--data-dir", str(tmp_path), "--json", "ingest", "--once"])
        reports.append(json.loads(capsys.readouterr().out))
        waiting.append(sum(lag_messages(tmp_path / "landing", at_broker).values()))

    assert [waiting[0], 0] == [report["messages"] for report in reports]
    assert [0, 0] == waiting[1:]


def test_follow_lands_until_it_is_told_to_stop(at_broker: KafkaSettings, tmp_path: Path) -> None:
    """SIGTERM ends `--follow` with exit code 0 and its report, everything landed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenmill_pipeline.cli", "--data-dir", str(tmp_path), "--json", "ingest", "--follow"],
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not landing.stored_offsets(tmp_path / "landing") and time.monotonic() < deadline:
            time.sleep(0.1)
        while sum(lag_messages(tmp_path / "landing", at_broker).values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()

    assert 0 == process.returncode
    assert json.loads(printed)["messages"] > 0


def test_the_doctor_knows_the_lag(at_broker: KafkaSettings, tokenmill: Tokenmill) -> None:
    """With --lag the messages that wait are counted by topic."""
    rows = [row for row in tokenmill("doctor", "--lag") if row["area"] == "broker"]

    assert [f"{topic} waiting messages" for topic in (at_broker.gpu_power_topic, at_broker.token_counters_topic)] == [
        row["what"] for row in rows
    ]
    assert all(row["value"] > 0 for row in rows)


def test_a_file_without_a_message_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where every line was refused, the wrong file was named: that is no success."""
    lines = tmp_path / "prices.toml"
    lines.write_text("[[rate_card]]\nprovider = 'x'\n", encoding="utf-8")
    code = main(["--data-dir", str(tmp_path / "data"), "ingest", "--file", str(lines)])

    assert 1 == code
    assert (
        f"nothing in {lines} is a message that can be landed: each of its 2 lines was refused"
        in capsys.readouterr().err
    )
