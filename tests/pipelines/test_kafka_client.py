"""Tests of tokenmill_pipeline.kafka_client: what a person reads when Kafka does not do what was asked."""

from pathlib import Path

import pytest

from tests.kafka_broker import USERS, KafkaBroker
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.ingest import ingest_once
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.kafka_client import answers, explained, open_admin
from tokenmill_pipeline.topics import TopicSettings, create_topics

NOWHERE = KafkaSettings(bootstrap_servers=("127.0.0.1:1",))


def with_user(kafka: KafkaBroker, name: str, password: str, folder: Path) -> KafkaSettings:
    """Return settings that log in with a password from a file."""
    if kafka.sasl_bootstrap is None:
        pytest.skip("the broker of TOKENMILL_TEST_KAFKA has users of its own")
    file = folder / "password"
    file.write_text(password + "\n")
    return KafkaSettings(
        bootstrap_servers=(kafka.sasl_bootstrap,),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=name,
        sasl_password_file=file,
    )


def test_no_broker_is_told_with_its_address_and_what_to_correct(tmp_path: Path) -> None:
    """Both commands end within the time-out, in one line."""
    with pytest.raises(TokenmillError, match=r"no broker answers at 127\.0\.0\.1:1 to create topics .*REFUSED"):
        create_topics(NOWHERE, TopicSettings(timeout_seconds=0.5))
    with pytest.raises(TokenmillError, match="correct bootstrap_servers and security_protocol") as caught:
        ingest_once(tmp_path, NOWHERE, IngestSettings(broker_timeout_seconds=0.5))
    assert 1 == len(str(caught.value).splitlines())


def test_a_port_without_a_broker_does_not_answer() -> None:
    """The health probe says no instead of raising."""
    assert False is answers("127.0.0.1:1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (KafkaSettings(security_protocol="SASL_SLL"), 'did you mean "SASL_SSL"'),
        (KafkaSettings(security_protocol="SASL_SSL"), "needs sasl_mechanism"),
        (KafkaSettings(security_protocol="SSL", ssl_cafile=Path("no.pem")), "there is no file no.pem"),
        (KafkaSettings(bootstrap_servers=()), 'expected "host:port"'),
        (KafkaSettings(bootstrap_servers=("[::1]:9092", "http://host:9092")), 'expected "host:port", got .http'),
    ],
)
def test_settings_that_cannot_work_are_wrong_usage(settings: KafkaSettings, words: str) -> None:
    """What the client would try for ever, or fail at with a traceback, is refused before it connects."""
    with pytest.raises(UsageError, match=words), explained(settings, "to look"):
        open_admin(settings, 0.5)


@pytest.mark.kafka
def test_refused_credentials_are_told_without_the_password(kafka: KafkaBroker, tmp_path: Path) -> None:
    """The user is named, what to check is named, the password is not."""
    settings = with_user(kafka, "admin", "wrong-word", tmp_path)

    with pytest.raises(TokenmillError, match="does not accept the login of user admin to create topics") as caught:
        create_topics(settings, TopicSettings(timeout_seconds=2.0))
    assert "wrong-word" not in str(caught.value)


@pytest.mark.kafka
def test_a_user_without_the_right_is_told_so(kafka: KafkaBroker, tmp_path: Path) -> None:
    """Creating and reading are refused by name, not as a topic that is missing."""
    guest = with_user(kafka, "guest", USERS["guest"], tmp_path)

    with pytest.raises(TokenmillError, match=r"user guest is not allowed to (create|describe)"):
        create_topics(guest, TopicSettings(timeout_seconds=10.0))
    with pytest.raises(TokenmillError, match="user guest is not allowed to describe the topics"):
        ingest_once(tmp_path, guest, IngestSettings())


@pytest.mark.kafka
def test_right_credentials_create_and_read(kafka: KafkaBroker, tmp_path: Path) -> None:
    """The same settings with the right password work."""
    settings = with_user(kafka, "admin", USERS["admin"], tmp_path)
    create_topics(settings, TopicSettings(partitions=2))

    assert 0 == ingest_once(tmp_path, settings, IngestSettings()).messages


@pytest.mark.kafka
def test_a_protocol_that_the_listener_does_not_speak_is_told(kafka: KafkaBroker) -> None:
    """TLS against a plain port times out; the line says what to look at."""
    settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap,), security_protocol="SSL")

    with pytest.raises(TokenmillError, match="security_protocol"):
        create_topics(settings, TopicSettings(timeout_seconds=1.0))
