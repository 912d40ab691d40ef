"""Tests of tokenmill_pipeline.kafka_reader: where reading goes on, and what it says when that is gone."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kafka import KafkaProducer, TopicPartition

from tests.kafka_broker import KafkaBroker, send
from tests.landed import offsets_landed
from tests.wire_messages import gpu_power
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.wire import encode
from tokenmill_pipeline.ingest import ingest_once
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.kafka_client import open_admin
from tokenmill_pipeline.kafka_reader import Reader
from tokenmill_pipeline.landing import OffsetRange, files_for, list_slices, stored_heads, stored_offsets
from tokenmill_pipeline.landing_write import now_us, write_slice
from tokenmill_pipeline.topics import TopicSettings, create_topics

pytestmark = pytest.mark.kafka

SETTINGS = IngestSettings(slice_seconds=1e9)
ACCEPTING = dataclasses.replace(SETTINGS, accept_gaps=True)


def produce(kafka: KafkaSettings, count: int, partition: int = 0) -> None:
    """Send messages of one GPU each to a partition of the GPU topic."""
    values = [encode(gpu_power(gpus=1, sequence=number, at_us=now_us())) for number in range(count)]
    send(kafka.bootstrap_servers[0], kafka.gpu_power_topic, values, partition)


@pytest.fixture
def admin(kafka_settings: KafkaSettings) -> Iterator[Any]:
    """Return an admin client."""
    client = open_admin(kafka_settings, 10.0)
    yield client
    client.close()


def make_anew(admin: Any, kafka: KafkaSettings) -> None:
    """Delete the GPU topic and create it again under its name."""
    admin.delete_topics([kafka.gpu_power_topic])
    deadline = time.monotonic() + 30
    while kafka.gpu_power_topic in admin.list_topics() and time.monotonic() < deadline:
        time.sleep(0.1)
    create_topics(kafka, TopicSettings(partitions=3))


def test_reading_goes_on_where_the_landing_ended(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Each run lands what came since the last; the topic's id is kept with the offset."""
    landed = []
    for count in (3, 0, 2):
        produce(kafka_settings, count)
        landed.append(ingest_once(tmp_path, kafka_settings, SETTINGS).messages)
    head = stored_heads(tmp_path)[kafka_settings.gpu_power_topic, 0]

    assert ([3, 0, 2], [0, 1, 2, 3, 4]) == (landed, offsets_landed(tmp_path))
    assert (5, 36) == (head.next_offset, len(head.topic_id or ""))


def test_the_delivery_header_lands_with_the_message(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """How a message was sent decides whether its delay says something of the node's clock."""
    producer = KafkaProducer(bootstrap_servers=kafka_settings.bootstrap_servers[0])
    for headers in ([("delivery", b"spooled")], [], [("delivery", b"by pigeon")]):
        message = encode(gpu_power(at_us=now_us()))
        producer.send(kafka_settings.gpu_power_topic, message, partition=0, headers=headers).get(30)
    producer.close()
    ingest_once(tmp_path, kafka_settings, SETTINGS)
    (file,) = files_for(list_slices(tmp_path), "messages")

    assert ["spooled", None, None] == pl.read_parquet(file)["delivery"].to_list()


def test_messages_of_an_aborted_transaction_are_not_read(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """A writer in any language may use transactions; reading once ends behind their marks."""
    producer = KafkaProducer(
        bootstrap_servers=kafka_settings.bootstrap_servers[0], transactional_id=kafka_settings.gpu_power_topic
    )
    producer.init_transactions()
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.send(kafka_settings.gpu_power_topic, encode(gpu_power(gpus=1, at_us=now_us())), partition=0).get(30)
        end()
    producer.close()
    report = ingest_once(tmp_path, kafka_settings, SETTINGS)

    assert (1, [2]) == (report.messages, offsets_landed(tmp_path))


def test_messages_deleted_before_they_were_read_stop_it(
    kafka_settings: KafkaSettings, tmp_path: Path, admin: Any
) -> None:
    """The error names topic, partition, offsets, what was lost and the remedy; accepted, the gap is counted."""
    topic = kafka_settings.gpu_power_topic
    produce(kafka_settings, 1)
    ingest_once(tmp_path, kafka_settings, SETTINGS)
    produce(kafka_settings, 4)
    admin.delete_records({TopicPartition(topic, 0): 3})

    with pytest.raises(TokenmillError, match=rf"partition 0 of topic {topic} at the stored offset 1: .*starts at 3: 2"):
        ingest_once(tmp_path, kafka_settings, SETTINGS)
    assert [0] == offsets_landed(tmp_path)

    report = ingest_once(tmp_path, kafka_settings, ACCEPTING)
    assert ([(1, 3)], {"lost_before_read": 1}) == (
        [(gap.stored_offset, gap.continued_at) for gap in report.gaps],
        report.rejected,
    )
    assert [0, 3, 4] == offsets_landed(tmp_path)
    assert () == ingest_once(tmp_path, kafka_settings, SETTINGS).gaps


def test_a_topic_that_was_made_anew_stops_it(kafka_settings: KafkaSettings, tmp_path: Path, admin: Any) -> None:
    """Its offsets mean other messages now; accepted, the new topic is read from its beginning."""
    produce(kafka_settings, 2)
    ingest_once(tmp_path, kafka_settings, SETTINGS)
    make_anew(admin, kafka_settings)
    produce(kafka_settings, 3)

    with pytest.raises(TokenmillError, match=r"stored offset 2: the topic was deleted and made anew .*--accept-gaps"):
        ingest_once(tmp_path, kafka_settings, SETTINGS)
    assert 3 == ingest_once(tmp_path, kafka_settings, ACCEPTING).messages
    assert [0, 0, 1, 1, 2] == offsets_landed(tmp_path)
    assert 0 == ingest_once(tmp_path, kafka_settings, SETTINGS).messages


def test_a_topic_made_anew_while_it_is_read_stops_it(kafka_settings: KafkaSettings, tmp_path: Path, admin: Any) -> None:
    """It is noticed within seconds, without a restart, and told as what it is."""
    produce(kafka_settings, 2)
    with Reader(tmp_path, kafka_settings, SETTINGS) as reader:
        while not reader.read():
            pass
        make_anew(admin, kafka_settings)
        produce(kafka_settings, 9)

        with pytest.raises(TokenmillError, match=r"made anew"):
            follow(reader, seconds=60)


def follow(reader: Reader, seconds: float) -> None:
    """Read and land for some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reader.read()
        reader.cut()


def test_a_log_that_lost_its_tail_stops_it(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """An offset beyond the end of the same topic; accepted, it goes on at the end and doubles nothing."""
    topic = kafka_settings.gpu_power_topic
    produce(kafka_settings, 2)
    ingest_once(tmp_path, kafka_settings, SETTINGS)
    head = stored_heads(tmp_path)[topic, 0]
    pretend_read_to(tmp_path, topic, head.topic_id, 7)

    with pytest.raises(TokenmillError, match="at the stored offset 7: the log ends at 2"):
        ingest_once(tmp_path, kafka_settings, SETTINGS)
    report = ingest_once(tmp_path, kafka_settings, ACCEPTING)
    assert ([(7, 2)], 0) == ([(gap.stored_offset, gap.continued_at) for gap in report.gaps], report.messages)
    produce(kafka_settings, 1)
    ingest_once(tmp_path, kafka_settings, SETTINGS)
    assert [0, 1, 2] == offsets_landed(tmp_path)


def pretend_read_to(landing_dir: Path, topic: str, topic_id: str | None, offset: int) -> None:
    """Land that partition 0 was read further than the broker now has."""
    read = OffsetRange(topic=topic, partition=0, topic_id=topic_id, first_offset=2, next_offset=offset)
    write_slice(landing_dir, {}, [read], source=None)


def test_processes_share_the_partitions(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Each lands its own; two that want the same one are told apart."""
    for partition in range(3):
        produce(kafka_settings, 2, partition)
    first, second = (dataclasses.replace(SETTINGS, partitions=numbers) for numbers in ((0,), (1, 2)))
    with Reader(tmp_path, kafka_settings, first):
        assert 4 == ingest_once(tmp_path, kafka_settings, second).messages
        with pytest.raises(TokenmillError, match=r"partition 0 of .* is being ingested by another process"):
            ingest_once(tmp_path, kafka_settings, SETTINGS)
    ingest_once(tmp_path, kafka_settings, SETTINGS)

    assert {0: 2, 1: 2, 2: 2} == {
        partition: offset
        for (topic, partition), offset in stored_offsets(tmp_path).items()
        if topic == kafka_settings.gpu_power_topic
    }


def test_partitions_that_are_added_are_read(
    kafka_settings: KafkaSettings, tmp_path: Path, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that grows while it is followed loses nothing."""
    monkeypatch.setattr("tokenmill_pipeline.kafka_reader._NEW_PARTITIONS_SECONDS", 0.0)
    with Reader(tmp_path, kafka_settings, SETTINGS) as reader:
        admin.create_partitions({kafka_settings.gpu_power_topic: 4})
        deadline = time.monotonic() + 60
        produce(kafka_settings, 1, 3)
        while not reader.read() and time.monotonic() < deadline:
            reader.adopt_new_partitions()
        reader.cut()

    assert [0] == offsets_landed(tmp_path)


def test_the_lag_is_what_waits_at_the_broker(kafka: KafkaBroker, kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """It is not known before the broker has said it, and 0 when all is read."""
    assert kafka_settings.bootstrap_servers == (kafka.bootstrap,)
    produce(kafka_settings, 5)
    with Reader(tmp_path, kafka_settings, SETTINGS) as reader:
        before = reader.lag()
        deadline = time.monotonic() + 60
        while reader.lag() is None and time.monotonic() < deadline:
            reader.read()

        assert (None, 0) == (before, reader.lag())
