"""Runs the agent as a program with an invented node, so that a test can end it in any way and look at what it left."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from tests.kafka_broker import _free_ports
from tokenmill_agent.records import DELIVERY_HEADER
from tokenmill_agent.sink.spool import Spool

PREFIX: Final = "tokenmill_agent_"
_SETTINGS: Final = """
[agent]
sample_interval_seconds = 0.25
row_interval_seconds = 0.5
send_interval_seconds = 0.5
scrape_interval_seconds = 1.0
max_power_gap_seconds = 4.0
max_close_seconds = 30.0
min_free_disk_bytes = 0
"""


class AgentProcess:
    """One `tokenmill-agent run`; what it makes in an hour it makes here in a minute and a half."""

    def __init__(self, directory: Path, kafka: Mapping[str, object], state_dir: Path | None = None) -> None:
        """Start it with the [kafka] settings of `kafka`; its state and its spool are under `state_dir`."""
        directory.mkdir(exist_ok=True)
        self.state_dir = state_dir or directory / "state"
        lines = [f"{key} = {json.dumps(value)}" for key, value in kafka.items()]
        (directory / "tokenmill.toml").write_text(_SETTINGS + "\n[kafka]\n" + "\n".join(lines) + "\n")
        (self._port,) = _free_ports(1)
        self._log = directory / "agent.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tokenmill_agent.cli", "run", "--simulate", "hopper", "--node", "n1"),
                    *("--config", str(directory / "tokenmill.toml"), "--state-dir", str(self.state_dir)),
                    *("--telemetry-port", str(self._port)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith("TOKENMILL_")},
            )

    def value(self, metric: str) -> float:
        """Return one of its own metrics, summed over labels; 0 where it does not show it (yet)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return 0.0
        name = PREFIX + metric
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for a condition; fail with the agent's log where it ends before or the time is over."""
        deadline = monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log()
            assert monotonic() < deadline, self.log()
            sleep(0.1)

    def log(self) -> str:
        """Return what it logged."""
        return self._log.read_text(errors="replace")

    def end(self, how: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(how)
        return self.process.wait(60)


def spooled(state_dir: Path, topic: str) -> list[dict[str, Any]]:
    """Return the messages that wait on disk for a topic, oldest first, and take them from there."""
    spool = Spool(state_dir / "spool" / topic, max_bytes=10**9, min_free_bytes=0, dropped=lambda _count: None)
    found = []
    while (one := spool.oldest()) is not None:
        found.append(json.loads(one.value))
        spool.acknowledge(one)
    spool.close()
    return found


def arrived(bootstrap: str, topic: str) -> list[tuple[str, dict[str, Any]]]:
    """Return how each message of a topic was delivered, and the message, in the order of the log."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3000)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        found = []
        while sum(consumer.position(partition) for partition in partitions) < sum(ends.values()):
            for records in consumer.poll(timeout_ms=1000).values():
                found += [
                    (dict(record.headers)[DELIVERY_HEADER].decode(), json.loads(record.value)) for record in records
                ]
        return found
    finally:
        consumer.close()


def gap_us(messages: list[dict[str, Any]]) -> int:
    """Return how much of the time of one run's messages lacks power, over all GPUs: what a held up sampler leaves."""
    missing = 0
    for device in range(len(messages[0]["devices"])):
        rows = [
            (monotonic_us, integrated_us)
            for message in messages
            for index, monotonic_us, integrated_us in zip(
                *(message["samples"][name] for name in ("device", "monotonic_us", "integrated_us")), strict=True
            )
            if index == device
        ]
        missing += (rows[-1][0] - rows[0][0]) - (rows[-1][1] - rows[0][1])
    return missing
