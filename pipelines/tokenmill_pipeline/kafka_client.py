"""Opens kafka-python clients and says in one line why Kafka did not do what was asked."""

import collections
import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from typing import Any, Final

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    KafkaConfigurationError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedCodecError,
    UnsupportedSaslMechanismError,
    for_code,
)
from kafka.net.compat import KafkaNetClient

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.settings import KafkaSettings, nearest

_CLIENT_LOG: Final = logging.getLogger("kafka")
# Without a handler of the application, Python would print the client's warnings between the lines of a command; at its
# most talkative the client also writes passwords.
_CLIENT_LOG.addHandler(logging.NullHandler())
_CLIENT_LOG.setLevel(logging.WARNING)

_SERVER: Final = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):\d{1,5}")
_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_REFUSED: Final = (SaslAuthenticationFailedError, IllegalSaslStateError, UnsupportedSaslMechanismError)


def open_admin(kafka: KafkaSettings, timeout_seconds: float) -> Any:
    """Return an admin client; use it inside `explained`."""
    milliseconds = round(timeout_seconds * 1000)
    return _open(
        KafkaAdminClient,
        **_options(kafka),
        client_id="tokenmill",
        bootstrap_timeout_ms=milliseconds,
        request_timeout_ms=max(milliseconds, 1000),
    )


def open_consumer(kafka: KafkaSettings, timeout_seconds: float) -> Any:
    """Return a consumer without a group, which never makes a topic and never chooses an offset by itself.

    Use it inside `explained`.
    """
    return _open(
        KafkaConsumer,
        **_options(kafka),
        client_id="tokenmill-ingest",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        isolation_level="read_committed",
        bootstrap_timeout_ms=round(timeout_seconds * 1000),
        max_poll_records=2000,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        reconnect_backoff_max_ms=2000,
        # How soon a topic that was made anew, or got partitions, is noticed.
        metadata_max_age_ms=5000,
        metrics_enabled=False,
    )


def _open(client: Any, **options: Any) -> Any:
    """Return a client; one that fails in its making leaves neither its thread nor its sockets behind."""
    network: list[Any] = []

    def keep(**network_options: Any) -> Any:
        network.append(KafkaNetClient(**network_options))
        return network[0]

    try:
        return client(**options, kafka_client=keep)
    except (KafkaError, OSError, ValueError):
        for one in network:
            one.close()
        raise


def _options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options of every client; what the client would try for ever without a word is refused here."""
    for server in kafka.bootstrap_servers or ("",):
        if not _SERVER.fullmatch(server):
            raise UsageError(f'[kafka] bootstrap_servers: expected "host:port", got {server!r}')
    if kafka.security_protocol not in _PROTOCOLS:
        raise UsageError(
            f"[kafka] security_protocol {kafka.security_protocol!r} is none of {', '.join(_PROTOCOLS)}"
            + nearest(kafka.security_protocol, _PROTOCOLS)
        )
    if kafka.security_protocol.startswith("SASL") and not kafka.sasl_mechanism:
        raise UsageError(f"[kafka] security_protocol {kafka.security_protocol} needs sasl_mechanism")
    for path in (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile):
        if path is not None and not path.is_file():
            raise UsageError(f"[kafka] there is no file {path}")
    return kafka.client_options()


class _Reasons(logging.Handler):
    """Keeps the errors that the client logs and retries: a bootstrap that fails does not say why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: collections.deque[BaseException] = collections.deque(maxlen=20)

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self.errors.extend(argument for argument in arguments if isinstance(argument, BaseException))


@contextlib.contextmanager
def explained(kafka: KafkaSettings, doing: str) -> Iterator[None]:
    """Turn every error of the client inside into one line.

    Args:
        kafka: how the brokers are reached.
        doing: what was being done, as in "to create topics".

    Raises:
        TokenmillError: no broker answers, the credentials are refused, or what was asked is not allowed.
        UsageError: the settings cannot be used.
    """
    reasons = _Reasons()
    _CLIENT_LOG.addHandler(reasons)
    try:
        yield
    except KafkaError as error:
        raise explain(error, list(reasons.errors), kafka, doing) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"[kafka] cannot be used {doing}: {error}") from error
    finally:
        _CLIENT_LOG.removeHandler(reasons)


def explain(error: KafkaError, reasons: list[BaseException], kafka: KafkaSettings, doing: str) -> TokenmillError:
    """Return what a person can do about an error; `reasons` are the errors that the client retried before."""
    brokers = ", ".join(kafka.bootstrap_servers)
    user = f"user {kafka.sasl_username}" if kafka.sasl_username else "this client"
    tried = [reason for reason in reasons if not isinstance(reason, KafkaTimeoutError)]
    cause = next((reason for reason in reversed(tried) if isinstance(reason, _REFUSED)), error)
    # A broker says why it refuses a login and hangs up at once; the client mostly sees only the second.
    hung_up = isinstance(error, KafkaTimeoutError) and any("socket disconnected" in str(reason) for reason in tried)
    if isinstance(cause, _REFUSED) or (kafka.sasl_mechanism and hung_up):
        return TokenmillError(
            f"the broker at {brokers} does not accept the login of {user} {doing}: check security_protocol, "
            "sasl_mechanism, sasl_username and the password of [kafka]"
        )
    if isinstance(cause, AuthorizationError):
        return TokenmillError(
            f"{user} is not allowed {doing} at {brokers}: let an administrator of Kafka grant it ({_first_line(cause)})"
        )
    if isinstance(cause, UnsupportedCodecError):
        return TokenmillError(f"messages at {brokers} are compressed with what is not installed: {_first_line(cause)}")
    if isinstance(cause, KafkaConfigurationError):
        return UsageError(f"[kafka] cannot be used {doing}: {_first_line(cause)}")
    if isinstance(cause, KafkaTimeoutError):
        last = f" ({_first_line(tried[-1])})" if tried else ""
        return TokenmillError(
            f"no broker answers at {brokers} {doing}{last}: start it, or correct bootstrap_servers and "
            "security_protocol of [kafka]"
        )
    return TokenmillError(f"the broker at {brokers} failed {doing}: {_first_line(cause)}")


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:200]


def answers(bootstrap: str, timeout_seconds: float = 1.0) -> bool:
    """Return whether a broker answers at `host:port` without credentials."""
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=timeout_seconds).close()
        open_admin(KafkaSettings(bootstrap_servers=(bootstrap,)), timeout_seconds).close()
    except (OSError, ValueError, KafkaError):
        return False
    return True


def describe_topics(admin: Any, topics: list[str]) -> dict[str, dict[str, Any]]:
    """Return what the broker says of the topics that exist: `topic_id` (None from old brokers) and `partitions`.

    Raises:
        KafkaError: the broker refuses one of them.
    """
    found = {}
    for topic in admin.describe_topics(topics):
        code = topic["error_code"]
        if code == 0:
            found[topic["name"]] = topic
        elif code != UnknownTopicOrPartitionError.errno:
            raise for_code(code)(topic["name"])
    return found


def topic_id(consumer: Any, topic: str) -> str | None:
    """Return the id of the topic that the consumer reads at this moment, None where the broker has no ids."""
    found = consumer._cluster.topic_id(topic)  # noqa: SLF001 - kafka-python shows what it fetches by nowhere else
    return None if found is None else str(found)


def cluster_id(consumer: Any) -> str | None:
    """Return the id of the cluster that the consumer reads from."""
    found = consumer._cluster.cluster_id  # noqa: SLF001 - asking an admin client fails with small brokers
    return None if found is None else str(found)
