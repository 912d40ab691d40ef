"""Sends messages to Kafka from threads of its own; whatever the brokers do, whoever makes messages is not held up."""

import importlib.util
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import Delivery
from tokenmill_agent.sink.client_log import ClientLog
from tokenmill_agent.sink.lane import DRAIN_BYTES_PER_SECOND, Lane
from tokenmill_agent.sink.spool import Spool
from tokenmill_agent.telemetry import Telemetry

API_VERSION: Final = (3, 9)
"""The newest protocol to speak. Named so that the producer need not reach a broker to be made; an older one is found
out when a broker answers."""

DELIVERY_TIMEOUT_MS: Final = 40_000
_REQUEST_TIMEOUT_MS: Final = 15_000
_MAX_BLOCK_MS: Final = 5_000
_RECONNECT_MAX_MS: Final = 5_000
_MAX_REQUEST_BYTES: Final = 1_048_576
_CLOSE_SECONDS: Final = 0.5

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER", "AWS_MSK_IAM")

_log = logging.getLogger(__name__)


class KafkaSink:
    """Delivers each topic on a lane of its own, so that one that is missing does not hold up the other.

    Nothing here blocks or fails because a broker is away, refuses or has no such topic: messages wait, bounded, in
    memory and on disk, and `problem` says what is wrong.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        telemetry: Telemetry,
        max_queue_bytes: int,
        when_full: Literal["drop_oldest", "wait"] = "drop_oldest",
        open_spool: Callable[[str], Spool] | None = None,
        drain_bytes_per_second: float = DRAIN_BYTES_PER_SECOND,
    ) -> None:
        """Make ready to deliver; returns at once. `max_queue_bytes` holds for each topic, before compression.

        `open_spool` returns the spool of a topic; without it what does not fit in memory is dropped, and counted.
        `drain_bytes_per_second` bounds how fast one spool is sent, before compression.

        Raises:
            UsageError: the [kafka] settings contradict each other.
            TokenmillError: a spool cannot be used.
        """
        self._settings = settings
        self._telemetry = telemetry
        self._max_queue_bytes = max_queue_bytes
        self._when_full = when_full
        self._open_spool = open_spool
        self._drain_bytes_per_second = drain_bytes_per_second
        self._stop = threading.Event()
        self._lanes: dict[str, Lane] = {}
        self._making_lanes = threading.Lock()
        self._client_log = ClientLog.attached()
        self._producer = make_producer(settings)
        if open_spool is not None:
            # What an earlier run left on disk is sent although nothing new may come.
            try:
                for topic in (settings.gpu_power_topic, settings.token_counters_topic):
                    self._lane(topic)
            except TokenmillError:
                self.close(0)
                raise
        self._follow("queue_messages", lambda lane: lane.outbox.messages)
        self._follow("queue_bytes", lambda lane: lane.outbox.size_bytes)
        self._follow("spool_messages", lambda lane: lane.spool.messages if lane.spool is not None else 0)
        self._follow("spool_bytes", lambda lane: lane.spool.size_bytes if lane.spool is not None else 0)

    @property
    def problem(self) -> str | None:
        """Return why nothing is delivered now and what to do, None while everything is."""
        return next((lane.problem for lane in self._all_lanes() if lane.problem is not None), None)

    @property
    def spooled(self) -> int:
        """Return how many messages wait on disk."""
        return sum(lane.spool.messages for lane in self._all_lanes() if lane.spool is not None)

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:
        """Take one message; what does not fit any more makes room by dropping the oldest, counted.

        Raises:
            TokenmillError: the sink was made to wait when it is full, and nothing was delivered for a minute.
        """
        lane = self._lane(topic)
        try:
            lane.outbox.put(topic, key, value, delivery)
        except TimeoutError:
            raise TokenmillError(lane.problem or f"Kafka takes no more messages for {topic}") from None

    def wait_until_empty(self, timeout_seconds: float) -> bool:
        """Return whether nothing waits in memory, after waiting for it."""
        deadline = monotonic() + timeout_seconds
        return all(lane.outbox.wait_until_empty(max(0.0, deadline - monotonic())) for lane in self._all_lanes())

    def close(self, timeout_seconds: float) -> int:
        """Deliver what is waiting, for `timeout_seconds` at most; return how many messages were lost."""
        self.wait_until_empty(timeout_seconds)
        self._stop.set()
        lost = sum(lane.close() for lane in self._all_lanes())
        try:
            self._producer.close(timeout=_CLOSE_SECONDS)
        except kafka_errors.KafkaError as error:
            # Records that cannot be delivered keep it from closing; its thread ends with the process.
            _log.debug("the producer did not close: %s", error)
        self._client_log.detach()
        return lost

    def _lane(self, topic: str) -> Lane:
        with self._making_lanes:
            if topic not in self._lanes:
                self._lanes[topic] = Lane(
                    topic,
                    producer=self._producer,
                    servers=", ".join(self._settings.bootstrap_servers),
                    client_log=self._client_log,
                    telemetry=self._telemetry,
                    max_queue_bytes=self._max_queue_bytes,
                    when_full=self._when_full,
                    spool=self._open_spool(topic) if self._open_spool is not None else None,
                    stop=self._stop,
                    drain_bytes_per_second=self._drain_bytes_per_second,
                )
            return self._lanes[topic]

    def _all_lanes(self) -> list[Lane]:
        with self._making_lanes:
            return list(self._lanes.values())

    def _follow(self, name: str, read: Callable[[Lane], int]) -> None:
        self._telemetry.follow(name, lambda: sum(read(lane) for lane in self._all_lanes()))


def compression() -> str:
    """Return the best codec that this installation has: zstd, else gzip, which needs no library."""
    return "zstd" if importlib.util.find_spec("zstandard") is not None else "gzip"


def make_producer(settings: KafkaSettings) -> Any:
    """Return a producer as the agent uses it; no broker is asked for anything yet.

    Raises:
        UsageError: the [kafka] settings contradict each other, or name a file that cannot be read.
    """
    require_settings(settings)
    try:
        return KafkaProducer(
            **settings.client_options(),
            client_id="tokenmill-agent",
            api_version=API_VERSION,
            allow_auto_create_topics=False,
            compression_type=compression(),
            max_block_ms=_MAX_BLOCK_MS,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            reconnect_backoff_max_ms=_RECONNECT_MAX_MS,
            max_request_size=_MAX_REQUEST_BYTES,
        )
    except (ValueError, TypeError, AssertionError, kafka_errors.KafkaError) as error:
        raise UsageError(f"[kafka]: {error}") from error


def require_settings(settings: KafkaSettings) -> None:
    """Refuse what the client finds out only when it connects, or never says.

    Raises:
        UsageError: naming the key, its value and what is allowed.
    """
    if settings.security_protocol not in _PROTOCOLS:
        raise UsageError(
            f"[kafka] security_protocol is {settings.security_protocol!r}, expected one of {', '.join(_PROTOCOLS)}"
        )
    if settings.security_protocol.startswith("SASL") and settings.sasl_mechanism not in _MECHANISMS:
        raise UsageError(
            f"[kafka] sasl_mechanism is {settings.sasl_mechanism!r}, expected one of {', '.join(_MECHANISMS)}"
        )
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path: Path | None = getattr(settings, name)
        if path is not None and not os.access(path, os.R_OK):
            raise UsageError(f"[kafka] {name}: cannot read {path}")
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"[kafka] bootstrap_servers holds {server!r}, expected host:port")
