"""A timeout is explained by what the client logged before it."""

import logging
from collections.abc import Iterator

import pytest
from kafka import errors

from tokenmill_agent.sink import client_log as module
from tokenmill_agent.sink.client_log import ClientLog

TIMEOUT = errors.KafkaTimeoutError("Failed to update metadata after 5.0 secs.")


@pytest.fixture
def log() -> Iterator[ClientLog]:
    """Return one that listens."""
    handler = ClientLog.attached()
    yield handler
    handler.detach()


def client_says(*lines: str) -> None:
    """Log lines as the client does."""
    for line in lines:
        logging.getLogger("kafka.net.manager").error("%s", line)


@pytest.mark.parametrize(
    ("lines", "explanation"),
    [
        ([], "no broker answers"),
        (["Connection failed: KafkaConnectionError: 111 ECONNREFUSED"], "no broker answers"),
        (["socket disconnected"], "hangs up"),
        (["socket disconnected", "111 ECONNREFUSED"], "no broker answers"),
        (["[Error 58] SaslAuthenticationFailedError: no", "socket disconnected"], "refused the credentials"),
        (["UnsupportedSaslMechanismError: no"], "sasl_mechanism"),
        (["Handshake failed: [SSL: WRONG_VERSION_NUMBER]"], "TLS"),
        (["Topic power not found in cluster metadata"], "create it with `tokenmill topics create`"),
        (["Topic other not found in cluster metadata"], "no broker answers"),
        (["Something else"], "no broker answers"),
    ],
)
def test_the_most_telling_line_explains_a_timeout(log: ClientLog, lines: list[str], explanation: str) -> None:
    """One failed sign-in leaves several lines; the one that says most wins."""
    client_says(*lines)

    assert explanation in log.explain(TIMEOUT, "power")


def test_an_error_that_says_itself_what_it_is_needs_no_log(log: ClientLog) -> None:
    """Whatever else was logged."""
    client_says("socket disconnected")

    assert "may not write" in log.explain(errors.TopicAuthorizationFailedError("power"))
    assert "max.message.bytes" in log.explain(errors.MessageSizeTooLargeError("x"))


def test_an_unknown_error_is_one_line(log: ClientLog) -> None:
    """Its name and its own words."""
    assert "NotLeaderForPartitionError: [Error 6]" in log.explain(errors.NotLeaderForPartitionError("a\nb"))
    assert "\n" not in log.explain(errors.NotLeaderForPartitionError("a\nb"))


def test_what_was_long_ago_explains_nothing(log: ClientLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that were put right are not blamed for the next outage."""
    client_says("SaslAuthenticationFailedError")
    monkeypatch.setattr(module, "RECENT_SECONDS", -1.0)

    assert "no broker answers" in log.explain(TIMEOUT)


def test_one_that_was_detached_hears_nothing() -> None:
    """Another sink's client is not its own."""
    log = ClientLog.attached()
    log.detach()
    client_says("SaslAuthenticationFailedError")

    assert "no broker answers" in log.explain(TIMEOUT)
