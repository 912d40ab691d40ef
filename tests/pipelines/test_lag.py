"""How many messages wait at the broker."""

from pathlib import Path

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import broker
from tokenmill_pipeline.lag import lag_messages
from tokenmill_pipeline.topics import TopicSettings, create_topics


def test_without_messages_nothing_waits(tmp_path: Path) -> None:
    """Empty topics have no lag."""
    with broker.running(tmp_path / "broker") as running:
        kafka = KafkaSettings(bootstrap_servers=(running.bootstrap,))
        create_topics(kafka, TopicSettings(partitions=2))
        found = lag_messages(tmp_path / "landing", kafka)

    assert {"tokenmill.gpu-power": 0, "tokenmill.token-counters": 0} == found


def test_a_missing_topic_says_what_to_do(tmp_path: Path) -> None:
    """Asking for the lag never makes a topic."""
    with (
        broker.running(tmp_path / "broker") as running,
        pytest.raises(TokenmillError, match="does not exist: create it with `tokenmill topics create`"),
    ):
        lag_messages(tmp_path / "landing", KafkaSettings(bootstrap_servers=(running.bootstrap,)))
