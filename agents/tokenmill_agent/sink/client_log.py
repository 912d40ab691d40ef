"""Finds out why Kafka does not take messages: the client says it in its log, and raises a mere timeout."""

import logging
import threading
from time import monotonic
from typing import Final

from kafka import errors as kafka_errors

RECENT_SECONDS: Final = 60.0

_CREDENTIALS: Final = "the broker refused the credentials: check [kafka] sasl_username and the password"
_MECHANISM: Final = "the broker does not know [kafka] sasl_mechanism: take one that it offers"
_MISSING: Final = "the topic does not exist: create it with `tokenmill topics create`"
_RIGHTS: Final = "this user may not write: allow WRITE and DESCRIBE on the topic"
_TLS: Final = "the TLS handshake failed: check [kafka] security_protocol and ssl_cafile"
_HANGS_UP: Final = "a broker listens and hangs up: check [kafka] security_protocol, sasl_username and the password"
_NOBODY: Final = "no broker answers: check [kafka] bootstrap_servers and that a broker listens there"
_TOO_LARGE: Final = "the message is larger than the topic's max.message.bytes: raise it, or lower send_interval_seconds"

_BY_ERROR: Final = {
    "SaslAuthenticationFailedError": _CREDENTIALS,
    "UnsupportedSaslMechanismError": _MECHANISM,
    "TopicAuthorizationFailedError": _RIGHTS,
    "ClusterAuthorizationFailedError": _RIGHTS,
    "UnknownTopicOrPartitionError": _MISSING,
    "MessageSizeTooLargeError": _TOO_LARGE,
    "RecordListTooLargeError": _TOO_LARGE,
}

_SIGNS: Final = (
    ("SaslAuthenticationFailedError", _CREDENTIALS),
    ("UnsupportedSaslMechanismError", _MECHANISM),
    ("Handshake failed", _TLS),
    ("ECONNREFUSED", _NOBODY),
    ("socket disconnected", _HANGS_UP),
)
"""Parts of the client's log lines, the most telling first: one failed sign-in leaves several of them."""


class ClientLog(logging.Handler):
    """Listens to the client's log and remembers what of the last minute explains a failure."""

    def __init__(self) -> None:
        """Listen to nothing yet."""
        super().__init__(logging.WARNING)
        self._seen: dict[str, float] = {}
        self._guard = threading.Lock()

    @classmethod
    def attached(cls) -> "ClientLog":
        """Return one that listens to the client's loggers; `detach` ends it."""
        handler = cls()
        logging.getLogger("kafka").addHandler(handler)
        return handler

    def detach(self) -> None:
        """Listen no more."""
        logging.getLogger("kafka").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a line that means something."""
        text = record.getMessage()
        found = next((sign for sign, _ in _SIGNS if sign in text), None)
        if found is None and text.startswith("Topic ") and text.endswith("not found in cluster metadata"):
            found = f"missing {text.split()[1]}"
        if found is not None:
            with self._guard:
                self._seen[found] = monotonic()

    def explain(self, error: Exception, topic: str | None = None) -> str:
        """Return what went wrong and what to do, for a person, in one line."""
        name = type(error).__name__
        if name in _BY_ERROR:
            return _BY_ERROR[name]
        if not isinstance(error, kafka_errors.KafkaTimeoutError | kafka_errors.KafkaConnectionError):
            return f"{name}: {error}".partition("\n")[0]
        with self._guard:
            oldest = monotonic() - RECENT_SECONDS
            recent = {sign for sign, at in self._seen.items() if at >= oldest}
        if f"missing {topic}" in recent:
            return _MISSING
        return next((meaning for sign, meaning in _SIGNS if sign in recent), _NOBODY)
