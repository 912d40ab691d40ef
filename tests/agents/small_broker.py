"""A small Kafka broker from a package, that tests may stop and start again."""

import socket
import subprocess
from pathlib import Path
from time import monotonic, sleep

import noida_db
from kafka import KafkaConsumer, TopicPartition


class SmallBroker:
    """One process on a free port of this machine; its topics are made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Return `host:port`."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until its port is open."""
        program = Path(noida_db.__file__).with_name("noida-db")
        self._directory.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [program, "start", "--only", "kafka", "--kafka-port", str(self._port), "--data-dir", self._directory],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = monotonic() + 30
        while monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                sleep(0.05)
            else:
                return
        raise RuntimeError("the small broker did not start")

    def stop(self) -> None:
        """End it in order; what it holds is kept in its directory."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def records(self, topic: str, count: int) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
        """Return key, value and headers of the first `count` records of partition 0."""
        consumer = KafkaConsumer(
            bootstrap_servers=[self.address], group_id=None, enable_auto_commit=False, allow_auto_create_topics=False
        )
        partition = TopicPartition(topic, 0)
        found: list[tuple[bytes, bytes, list[tuple[str, bytes]]]] = []
        try:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            deadline = monotonic() + 60
            while len(found) < count and monotonic() < deadline:
                for records in consumer.poll(timeout_ms=500).values():
                    found.extend((record.key, record.value, list(record.headers)) for record in records)
        finally:
            consumer.close()
        return found
