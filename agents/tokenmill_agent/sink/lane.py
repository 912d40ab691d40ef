"""The way of one topic to Kafka: messages wait in memory, what fails goes to disk, and what is on disk follows."""

import logging
import threading
from time import monotonic
from typing import Any, Final, Literal

from kafka import errors as kafka_errors

from tokenmill_agent.records import DELIVERY_HEADER
from tokenmill_agent.sink import Delivery
from tokenmill_agent.sink.client_log import ClientLog
from tokenmill_agent.sink.outbox import QUEUE_FULL, Outbox, Outgoing
from tokenmill_agent.sink.spool import Spool
from tokenmill_agent.telemetry import Telemetry

DRAIN_MESSAGES_PER_SECOND: Final = 20.0
"""How fast a spool empties at most beside the live messages: an hour of one node in 18 seconds."""
DRAIN_BYTES_PER_SECOND: Final = 256 * 1024
"""The same in bytes before compression: a fleet that comes back must not flood its brokers."""

_MAX_MESSAGES: Final = 100_000
_MAX_IN_FLIGHT: Final = 100
_REST_SECONDS: Final = 1.0
_WAKE_SECONDS: Final = 0.5
_SPOOLED_TIMEOUT_SECONDS: Final = 60.0
_DRAIN_RETRY_SECONDS: Final = 5.0

_HOPELESS: Final = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTopicError,
)
"""Errors of the message itself: no later try can succeed."""

_log = logging.getLogger(__name__)


class Lane:
    """Delivers the messages of one topic, at least once and, as long as nothing fails, in order."""

    def __init__(
        self,
        topic: str,
        *,
        producer: Any,
        servers: str,
        client_log: ClientLog,
        telemetry: Telemetry,
        max_queue_bytes: int,
        when_full: Literal["drop_oldest", "wait"],
        spool: Spool | None,
        stop: threading.Event,
        drain_bytes_per_second: float = DRAIN_BYTES_PER_SECOND,
    ) -> None:
        """Start to deliver."""
        self.topic = topic
        self.spool = spool
        self.problem: str | None = None
        self.outbox = Outbox(
            max_messages=_MAX_MESSAGES,
            max_bytes=max_queue_bytes,
            max_in_flight=_MAX_IN_FLIGHT,
            when_full=when_full,
            dropped=self._drop,
        )
        self._producer = producer
        self._servers = servers
        self._client_log = client_log
        self._telemetry = telemetry
        self._stop = stop
        self._rests_until = 0.0
        self._drain_bytes_per_second = drain_bytes_per_second
        self._lost = 0
        jobs = [self._deliver] if spool is None else [self._deliver, self._drain]
        for job in jobs:
            threading.Thread(target=job, name=f"kafka-{topic}", daemon=True).start()

    def close(self) -> int:
        """Give up what is left, to the disk where there is room; return how many messages were lost."""
        lost_before = self._lost
        self.outbox.close("unsent_at_end")
        if self.spool is not None:
            self.spool.close()
        return self._lost - lost_before

    def _deliver(self) -> None:
        while not self._stop.is_set():
            # After a failure the lane rests: a broker that refuses is not asked in a loop.
            if self._stop.wait(max(0.0, self._rests_until - monotonic())):
                return
            message = self.outbox.take(_WAKE_SECONDS)
            if message is not None:
                self._hand_over(message)
            self._spill()

    def _hand_over(self, message: Outgoing) -> None:
        if self._is_away() and self._keep(message):
            # What is on disk is tried by `_drain` alone: trying each new message would keep it in memory until it
            # failed, and a kill would lose it.
            self.outbox.delivered(message)
            return
        try:
            future = self._send(message.key, message.value, message.delivery)
        except (kafka_errors.KafkaError, ValueError, AssertionError) as error:
            self._fail(message, error)
            return
        future.add_callback(lambda _metadata: self._succeed(message))
        future.add_errback(lambda error: self._fail(message, error))

    def _is_away(self) -> bool:
        return self.problem is not None and self.spool is not None and self.spool.messages > 0

    def _spill(self) -> None:
        """Put on disk what a slow broker lets pile up, before the maker of messages has to drop it."""
        while self.spool is not None and (message := self.outbox.overflow()) is not None:
            if not self._keep(message):
                self.outbox.again(message)
                return
            self.outbox.delivered(message)

    def _send(self, key: str, value: bytes, delivery: Delivery) -> Any:
        return self._producer.send(
            self.topic,
            key=key.encode("utf-8", errors="replace"),
            value=value,
            headers=[(DELIVERY_HEADER, delivery.encode())],
        )

    def _succeed(self, message: Outgoing) -> None:
        self.outbox.delivered(message)
        self._count_delivered(message.value)

    def _fail(self, message: Outgoing, error: Exception) -> None:
        if self._stop.is_set():
            return
        self._say(error)
        self._rests_until = monotonic() + _REST_SECONDS
        if isinstance(error, _HOPELESS):
            self.outbox.give_up(message, "refused")
        elif self._keep(message):
            self.outbox.delivered(message)
        else:
            self.outbox.again(message)

    def _keep(self, message: Outgoing) -> bool:
        """Put a message on the disk; False where there is none or it does not take it."""
        if self.spool is None or not self.spool.append(self.topic, message.key, message.value):
            return False
        self._telemetry.count("messages_spooled_total")
        return True

    def _drop(self, message: Outgoing, reason: str) -> None:
        # A full queue is told to the maker of messages, who must never wait for a disk.
        if reason in {"refused", QUEUE_FULL} or not self._keep(message):
            self._lost += 1
            self._telemetry.count("messages_dropped_total", reason=reason)

    def _drain(self) -> None:
        """Send what is on disk, one after the other, while live messages are taken."""
        rest_seconds = 0.0
        while not self._stop.wait(rest_seconds):
            rest_seconds = self._drain_one()

    def _drain_one(self) -> float:
        """Send the oldest message on disk, and return how many seconds to rest before the next."""
        spooled = self.spool.oldest() if self.spool is not None else None
        if self.spool is None or spooled is None:
            return _REST_SECONDS
        try:
            self._send(spooled.key, spooled.value, "spooled").get(timeout=_SPOOLED_TIMEOUT_SECONDS)
        except _HOPELESS:
            self._telemetry.count("messages_dropped_total", reason="refused")
        except (kafka_errors.KafkaError, ValueError, AssertionError) as error:
            self._say(error)
            return _DRAIN_RETRY_SECONDS
        else:
            self._count_delivered(spooled.value)
        self.spool.acknowledge(spooled)
        return max(1 / DRAIN_MESSAGES_PER_SECOND, len(spooled.value) / self._drain_bytes_per_second)

    def _count_delivered(self, value: bytes) -> None:
        self._telemetry.count("messages_delivered_total")
        self._telemetry.count("delivered_bytes_total", len(value))
        if self.problem is not None:
            self.problem = None
            _log.info("Kafka (%s) takes messages for %s again", self._servers, self.topic)

    def _say(self, error: Exception) -> None:
        """Log one line per change, not one per try."""
        self._telemetry.count("sink_errors_total", error=type(error).__name__)
        problem = f"Kafka ({self._servers}), topic {self.topic}: {self._client_log.explain(error, self.topic)}"
        if problem != self.problem:
            self.problem = problem
            _log.warning("%s; messages wait", problem)
