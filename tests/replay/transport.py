"""The ways of messages from an agent to the landing: through Kafka, or by a file of lines."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.kafka_broker import KafkaUnavailableError, start_kafka
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import Sink
from tokenmill_agent.sink.kafka import KafkaSink
from tokenmill_agent.sink.stdout import LineSink
from tokenmill_agent.telemetry import Telemetry
from tokenmill_pipeline import broker
from tokenmill_pipeline.ingest import ingest_once
from tokenmill_pipeline.ingest_file import ingest_file
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.topics import TopicSettings, create_topics

_QUEUE_BYTES = 64 * 1024 * 1024
_CLOSE_SECONDS = 120.0


class Transport(Protocol):
    """Takes the messages of agents and lands them."""

    kafka: KafkaSettings
    sink: Sink
    name: str

    def land(self, landing_dir: Path) -> None:
        """Deliver what was taken, and ingest all of it."""
        ...


class KafkaTransport:
    """Topics of its own on a broker; `name` says which broker."""

    def __init__(self, bootstrap: str, name: str) -> None:
        """Create the topics, so that several replays may share a broker."""
        mark = uuid.uuid4().hex[:8]
        self.name = name
        self.kafka = KafkaSettings(
            bootstrap_servers=(bootstrap,),
            gpu_power_topic=f"replay-{mark}.gpu-power",
            token_counters_topic=f"replay-{mark}.token-counters",
        )
        create_topics(self.kafka, TopicSettings(partitions=2))
        self.sink: Sink = KafkaSink(self.kafka, telemetry=Telemetry(), max_queue_bytes=_QUEUE_BYTES, when_full="wait")

    def land(self, landing_dir: Path) -> None:
        """Wait for the broker to have everything, and ingest the topics to their end.

        Raises:
            TokenmillError: the broker did not take everything in time, or cannot be read.
        """
        left = self.sink.close(_CLOSE_SECONDS)
        if left:
            raise TokenmillError(f"{self.name} did not take {left} messages within {_CLOSE_SECONDS:g} s")
        ingest_once(landing_dir, self.kafka, IngestSettings())


class FileTransport:
    """A file of messages, one a line."""

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        self.name = "a file of messages"
        self.kafka = KafkaSettings()
        self._path = path
        self.sink: Sink = LineSink.file(path)

    def land(self, landing_dir: Path) -> None:
        """Close the file and ingest it."""
        self.sink.close(0)
        ingest_file(landing_dir, self._path, IngestSettings())


@contextlib.contextmanager
def any_kafka(folder: Path, bootstrap: str | None) -> Iterator[KafkaTransport]:
    """Yield a transport through the broker at `bootstrap`, else the tests' Apache Kafka, else the embedded broker.

    Raises:
        TokenmillError: no broker answers or can be started.
    """
    if bootstrap is not None:
        yield KafkaTransport(bootstrap, f"the broker at {bootstrap}")
        return
    with contextlib.ExitStack() as stack:
        try:
            apache = start_kafka(_made(folder / "kafka"))
        except KafkaUnavailableError as error:
            embedded = stack.enter_context(broker.running(folder / "broker"))
            reason = str(error).splitlines()[0]
            yield KafkaTransport(embedded.bootstrap, f"the embedded broker (no Apache Kafka: {reason})")
        else:
            stack.callback(apache.stop)
            yield KafkaTransport(apache.bootstrap, f"Apache Kafka at {apache.bootstrap}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
