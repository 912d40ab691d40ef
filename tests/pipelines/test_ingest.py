"""Tests of tokenmill_pipeline.ingest."""

import dataclasses
import secrets
import threading
from pathlib import Path
from typing import Self

import pytest

from tests.kafka_broker import KafkaBroker, send
from tests.landed import offsets_landed
from tests.wire_messages import gpu_power, token_counters
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.wire import encode
from tokenmill_pipeline.ingest import ingest_follow, ingest_once
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.lander import IngestReport
from tokenmill_pipeline.landing import list_slices
from tokenmill_pipeline.landing_write import now_us

pytestmark = pytest.mark.kafka

SETTINGS = IngestSettings()
WAIT_SECONDS = 60


def produce(kafka: KafkaSettings, count: int) -> None:
    """Send messages of both kinds to the first partition of their topics."""
    power = [encode(gpu_power(gpus=1, sequence=number, at_us=now_us())) for number in range(count)]
    tokens = [encode(token_counters(sequence=number, at_us=now_us())) for number in range(count)]
    send(kafka.bootstrap_servers[0], kafka.gpu_power_topic, power, 0)
    send(kafka.bootstrap_servers[0], kafka.token_counters_topic, tokens, 0)


class Following:
    """Ingest that follows in a thread of its own, with what it last reported."""

    def __init__(self, landing_dir: Path, kafka: KafkaSettings, settings: IngestSettings) -> None:
        self.report = IngestReport()
        self.error: TokenmillError | None = None
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(landing_dir, kafka, settings))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self, landing_dir: Path, kafka: KafkaSettings, settings: IngestSettings) -> None:
        try:
            self._tell(ingest_follow(landing_dir, kafka, settings, self._stop, on_progress=self._tell))
        except TokenmillError as error:
            self.error = error

    def _tell(self, report: IngestReport) -> None:
        with self._changed:
            self.report = report
            self._changed.notify_all()

    def wait_for_messages(self, count: int) -> None:
        """Wait until so many messages have landed."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.report.messages >= count, WAIT_SECONDS), self.report


def test_both_topics_land_with_their_bad_messages_set_aside(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """One run lands what there is; the report counts it."""
    produce(kafka_settings, 3)
    send(kafka_settings.bootstrap_servers[0], kafka_settings.gpu_power_topic, [b"nonsense"], 1)
    report = ingest_once(tmp_path, kafka_settings, SETTINGS)

    assert (7, 6, {"not_json": 1}, 0) == (report.messages, report.rows, report.rejected, report.lag_messages)
    assert ([0, 1, 2], [0, 1, 2]) == (offsets_landed(tmp_path), offsets_landed(tmp_path, "token_samples"))


def test_following_lands_what_comes_and_merges_beside(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Slices are cut while messages come, and small ones do not pile up; at the end nothing read is left behind."""
    eager = IngestSettings(
        slice_seconds=0.0, compact_slices=2, maintenance_interval_seconds=0.0, removal_grace_seconds=0.0
    )
    with Following(tmp_path, kafka_settings, eager) as following:
        for sent in (2, 4, 6, 8):
            produce(kafka_settings, 1)
            following.wait_for_messages(sent)
    assert (None, 8) == (following.error, following.report.messages)
    assert "merged" in {manifest.kind for manifest in list_slices(tmp_path)}
    assert [0, 1, 2, 3] == offsets_landed(tmp_path)


def test_what_was_read_lands_when_it_is_stopped(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Stopping does not wait for the slice's time, and loses nothing of what was read."""
    produce(kafka_settings, 2)
    with Following(tmp_path, kafka_settings, IngestSettings(slice_messages=1)) as following:
        following.wait_for_messages(4)

    assert (None, [0, 1]) == (following.error, offsets_landed(tmp_path))


def test_a_missing_topic_is_named_with_the_command_that_makes_it(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Nothing is created by reading."""
    wrong = dataclasses.replace(kafka_settings, gpu_power_topic="no-such-topic")

    with pytest.raises(TokenmillError, match=r"topic no-such-topic does not exist at .*`tokenmill topics create`"):
        ingest_once(tmp_path, wrong, SETTINGS)
    with pytest.raises(TokenmillError, match="no-such-topic does not exist"):
        ingest_once(tmp_path, wrong, SETTINGS)


def test_a_partition_that_does_not_exist_is_wrong_usage(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """The partitions that there are, are named."""
    with pytest.raises(UsageError, match="has the partitions 0 to 2, there is no partition 3"):
        ingest_once(tmp_path, kafka_settings, IngestSettings(partitions=(0, 3)))


@pytest.mark.slow
def test_a_broker_that_is_killed_and_comes_back_is_waited_for(
    own_kafka: KafkaBroker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """Ingest that follows goes on by itself; nothing is lost or doubled."""
    with Following(tmp_path, kafka_settings, IngestSettings(slice_seconds=0.2)) as following:
        produce(kafka_settings, 3)
        following.wait_for_messages(6)
        own_kafka.restart()
        produce(kafka_settings, 2)
        following.wait_for_messages(10)

    assert (None, [0, 1, 2, 3, 4]) == (following.error, offsets_landed(tmp_path))


@pytest.mark.slow
def test_a_broker_that_falls_silent_ends_reading_once_with_what_came(
    own_kafka: KafkaBroker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """A clear error instead of waiting for ever; what was read has landed, and the next run finishes."""
    # More than the client fetches ahead, also compressed, so that something is left to wait for.
    message = gpu_power(gpus=1, at_us=now_us())
    (placement,) = message.placements
    for _ in range(6):
        noise = [dataclasses.replace(placement, labels={"noise": secrets.token_hex(4000)}) for _ in range(50)]
        values = [encode(dataclasses.replace(message, placements=[*noise]))] * 10
        send(own_kafka.bootstrap, kafka_settings.gpu_power_topic, values, 0)
    settings = IngestSettings(slice_messages=1, stall_seconds=1.0)
    try:
        with pytest.raises(TokenmillError, match=r"gave nothing for 1 s though \d+ messages wait"):
            ingest_once(tmp_path, kafka_settings, settings, on_progress=lambda _report: own_kafka.kill())
    finally:
        own_kafka.restart()
    landed = len(offsets_landed(tmp_path, "messages"))
    ingest_once(tmp_path, kafka_settings, SETTINGS)

    assert 0 < landed < 60
    assert list(range(60)) == offsets_landed(tmp_path, "messages")
