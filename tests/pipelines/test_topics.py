"""Tests of tokenmill_pipeline.topics."""

import pytest

from tests.kafka_broker import KafkaBroker
from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.kafka_client import explained, open_admin
from tokenmill_pipeline.topics import TopicReport, TopicSettings, create_topics

pytestmark = pytest.mark.kafka


def names(kafka: KafkaBroker, suffix: str) -> KafkaSettings:
    """Return settings with topics that nobody has created."""
    return KafkaSettings(
        bootstrap_servers=(kafka.bootstrap,), gpu_power_topic=f"gpu-{suffix}", token_counters_topic=f"tokens-{suffix}"
    )


def test_missing_topics_are_created_and_existing_ones_reported(kafka: KafkaBroker) -> None:
    """Running it twice changes nothing."""
    settings = names(kafka, "twice")
    first = create_topics(settings, TopicSettings(partitions=4))
    second = create_topics(settings, TopicSettings(partitions=4))

    assert [
        TopicReport(name="gpu-twice", created=True, partitions=4, replication_factor=1),
        TopicReport(name="tokens-twice", created=True, partitions=4, replication_factor=1),
    ] == first
    assert [(False, ()), (False, ())] == [(report.created, report.notes) for report in second]


def test_an_existing_topic_that_differs_is_left_alone_and_noted(kafka: KafkaBroker) -> None:
    """A topic that somebody else made keeps its settings; where they matter, a note says so."""
    settings = names(kafka, "foreign")
    with explained(settings, "to prepare the test"):
        admin = open_admin(settings, 10.0)
        admin.create_topics(
            {settings.gpu_power_topic: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True
        )
        admin.close()
    gpu, tokens = create_topics(settings, TopicSettings(partitions=3))

    assert (False, 2) == (gpu.created, gpu.partitions)
    assert (
        "has 2 partitions, 3 were asked for",
        "keeps the senders' own times; set message.timestamp.type=LogAppendTime",
    ) == gpu.notes
    assert (True, 3, ()) == (tokens.created, tokens.partitions, tokens.notes)


def test_more_replicas_than_brokers_is_a_clear_error(kafka: KafkaBroker) -> None:
    """What the broker says is passed on in one line."""
    from tokenmill_agent.errors import TokenmillError

    with pytest.raises(TokenmillError, match=r"failed to create topics: .*eplication") as caught:
        create_topics(names(kafka, "replicas"), TopicSettings(replication_factor=99))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("settings", [TopicSettings(partitions=0), TopicSettings(retention_days=0)])
def test_numbers_that_cannot_be_right_are_wrong_usage(settings: TopicSettings) -> None:
    """They are refused before a broker is asked."""
    with pytest.raises(UsageError, match="at least 1"):
        create_topics(KafkaSettings(bootstrap_servers=("127.0.0.1:1",)), settings)
