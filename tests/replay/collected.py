"""A sink that keeps messages, decoded, for a test to read."""

from tokenmill_agent.records import GpuPowerMessage, TokenCountersMessage
from tokenmill_agent.sink import Delivery
from tokenmill_pipeline.decode import decode_message
from tokenmill_pipeline.ingest_settings import Limits


class CollectingSink:
    """Takes encoded messages and decodes them as the pipeline does."""

    def __init__(self) -> None:
        self.gpu_power: list[GpuPowerMessage] = []
        self.token_counters: list[TokenCountersMessage] = []

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:  # noqa: ARG002 - all are kept
        """Keep one message."""
        message = decode_message(value, Limits())
        if isinstance(message, TokenCountersMessage):
            self.token_counters.append(message)
        else:
            self.gpu_power.append(message)

    def close(self, timeout_seconds: float) -> int:  # noqa: ARG002 - nothing waits
        """Return that nothing is left."""
        return 0
