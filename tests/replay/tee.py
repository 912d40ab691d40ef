"""Sends every message to several sinks."""

from collections.abc import Sequence

from tokenmill_agent.sink import Delivery, Sink


class TeeSink:
    """Hands each message to all of `sinks`."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """Take the sinks."""
        self._sinks = sinks

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:
        """Send one message to each."""
        for sink in self._sinks:
            sink.send(topic, key, value, delivery)

    def close(self, timeout_seconds: float) -> int:
        """Close each; return how many messages were not delivered."""
        return sum(sink.close(timeout_seconds) for sink in self._sinks)
