"""The messages that wait to be delivered: bounded in number and bytes, in order, safe for several threads."""

import bisect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

from tokenmill_agent.sink import Delivery

QUEUE_FULL: Final = "queue_full"
WAIT_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Outgoing:
    """One message on its way; `number` is its place in the order in which messages were made."""

    number: int
    topic: str
    key: str
    value: bytes
    delivery: Delivery


class Outbox:
    """Waiting messages and those in flight. When it is full, the oldest waiting one makes room, or the maker waits."""

    def __init__(
        self,
        *,
        max_messages: int,
        max_bytes: int,
        max_in_flight: int,
        when_full: Literal["drop_oldest", "wait"],
        dropped: Callable[[Outgoing, str], None],
    ) -> None:
        """Begin empty; `dropped` is told of every message that is given up, and why."""
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_in_flight = max_in_flight
        self._when_full = when_full
        self._dropped = dropped
        self._changed = threading.Condition()
        self._waiting: list[Outgoing] = []
        self._in_flight: dict[int, Outgoing] = {}
        self._bytes = 0
        self._made = 0
        self._closed = False

    @property
    def messages(self) -> int:
        """Return how many messages are waiting or in flight."""
        with self._changed:
            return len(self._waiting) + len(self._in_flight)

    @property
    def size_bytes(self) -> int:
        """Return how many bytes they hold."""
        with self._changed:
            return self._bytes

    def put(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:
        """Add a message. Does not block unless the outbox was made to wait when it is full.

        Raises:
            TimeoutError: it was made to wait, and there was no room for a minute.
        """
        with self._changed:
            if self._when_full == "wait" and not self._changed.wait_for(
                lambda: self._closed or not self._is_full(len(value)), WAIT_SECONDS_MAX
            ):
                raise TimeoutError
            message = Outgoing(number=self._made, topic=topic, key=key, value=value, delivery=delivery)
            self._made += 1
            victims = self._make_room(len(value))
            if self._is_full(len(value)):
                victims.append(message)
            else:
                self._waiting.append(message)
                self._bytes += len(value)
            self._changed.notify_all()
        for victim in victims:
            self._dropped(victim, QUEUE_FULL)

    def take(self, timeout_seconds: float) -> Outgoing | None:
        """Return the oldest waiting message, in flight from now on; None where there is none in time."""
        with self._changed:
            self._changed.wait_for(self._may_take, timeout_seconds)
            if not self._may_take():
                return None
            message = self._waiting.pop(0)
            self._in_flight[message.number] = message
            return message

    def overflow(self) -> Outgoing | None:
        """Return the oldest waiting message, in flight from now on; None while half of the room is free."""
        with self._changed:
            count = len(self._waiting) + len(self._in_flight)
            if not self._waiting or (count <= self._max_messages // 2 and self._bytes <= self._max_bytes // 2):
                return None
            message = self._waiting.pop(0)
            self._in_flight[message.number] = message
            return message

    def delivered(self, message: Outgoing) -> None:
        """Forget a message that arrived."""
        self._forget(message)

    def again(self, message: Outgoing) -> None:
        """Put a message that did not arrive back to its place in the order."""
        with self._changed:
            if self._in_flight.pop(message.number, None) is not None:
                bisect.insort(self._waiting, message)
                self._changed.notify_all()

    def give_up(self, message: Outgoing, reason: str) -> None:
        """Drop a message that will never arrive."""
        if self._forget(message):
            self._dropped(message, reason)

    def wait_until_empty(self, timeout_seconds: float) -> bool:
        """Return whether nothing is left, after waiting for it."""
        deadline = monotonic() + timeout_seconds
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._in_flight, max(0.0, deadline - monotonic())
            )

    def close(self, reason: str) -> int:
        """Drop everything that is left, and return how much that was; nobody waits for room any more."""
        with self._changed:
            self._closed = True
            left = [*self._in_flight.values(), *self._waiting]
            self._waiting.clear()
            self._in_flight.clear()
            self._bytes = 0
            self._changed.notify_all()
        for message in left:
            self._dropped(message, reason)
        return len(left)

    def _may_take(self) -> bool:
        return bool(self._waiting) and len(self._in_flight) < self._max_in_flight

    def _is_full(self, more_bytes: int) -> bool:
        messages = len(self._waiting) + len(self._in_flight) + 1
        return messages > self._max_messages or self._bytes + more_bytes > self._max_bytes

    def _make_room(self, more_bytes: int) -> list[Outgoing]:
        victims = []
        while self._waiting and self._is_full(more_bytes):
            victims.append(self._waiting.pop(0))
            self._bytes -= len(victims[-1].value)
        return victims

    def _forget(self, message: Outgoing) -> bool:
        with self._changed:
            if self._in_flight.pop(message.number, None) is None:
                return False
            self._bytes -= len(message.value)
            self._changed.notify_all()
            return True
