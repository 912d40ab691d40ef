"""Where messages go: Kafka, or standard output and files, one message a line."""

from typing import Literal, Protocol

Delivery = Literal["live", "spooled", "replayed"]


class Sink(Protocol):
    """Takes messages. It never raises for what happens after: what is not delivered is counted."""

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:
        """Take one encoded message for `topic`, of node `key`."""
        ...

    def close(self, timeout_seconds: float) -> int:
        """Deliver what is waiting for at most `timeout_seconds`; return how many messages were not delivered."""
        ...
