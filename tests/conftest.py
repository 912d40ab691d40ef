"""Fixtures that many tests share: a real Apache Kafka, and topics of a test's own on it."""

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.kafka_broker import REMEDY, KafkaBroker, KafkaUnavailableError, start_kafka
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.topics import TopicSettings, create_topics

_MISSING = "no real Apache Kafka"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Return a real Apache Kafka for the whole session; skip where none can be had, fail where CI=true."""
    reason = None
    try:
        broker = start_kafka(tmp_path_factory.mktemp("kafka"))
    except KafkaUnavailableError as error:
        reason = f"{_MISSING}: {error}"
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; {REMEDY}", pytrace=False)
    if reason is not None:
        pytest.skip(reason)
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def own_kafka(kafka: KafkaBroker) -> KafkaBroker:
    """Return the real Apache Kafka if the tests started it themselves, so that they may kill it."""
    if not kafka.own:
        pytest.skip("the broker of TOKENMILL_TEST_KAFKA is not ours to kill")
    return kafka


@pytest.fixture
def kafka_settings(kafka: KafkaBroker) -> KafkaSettings:
    """Return settings with two new topics of three partitions on the real Apache Kafka."""
    name = uuid.uuid4().hex[:8]
    settings = KafkaSettings(
        bootstrap_servers=(kafka.bootstrap,),
        gpu_power_topic=f"gpu-power-{name}",
        token_counters_topic=f"token-counters-{name}",
    )
    create_topics(settings, TopicSettings(partitions=3, timeout_seconds=30.0))
    return settings


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one loud line which tests did not run for want of a real Kafka, and how to get them."""
    skipped = [
        report.nodeid
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple) and _MISSING in report.longrepr[2]
    ]
    if skipped:
        files = ", ".join(sorted({nodeid.partition("::")[0] for nodeid in skipped}))
        terminalreporter.write_line(
            f"NOT RUN: {len(skipped)} tests against a real Apache Kafka, in {files}: {REMEDY}", red=True, bold=True
        )
