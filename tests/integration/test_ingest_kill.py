"""Ingest is killed with SIGKILL at any moment, against a real Apache Kafka, and each message still lands once."""

import collections
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
import pytest
from kafka import KafkaProducer

from tests.wire_messages import HOUR_US, START_US, gpu_power, token_counters
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.wire import encode
from tokenmill_pipeline.ingest import ingest_once
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.landing import files_for, list_slices, reading
from tokenmill_pipeline.seal import maintain

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT: Final = Path(__file__).parent.parent.parent
KILLS: Final = 26
CONTROL_KILLS: Final = 3
MESSAGES_PER_HOUR: Final = 1000
"""The fleet's own clock runs fast, so that hours end, and are sealed, while others still fill."""

BUSY: Final[dict[str, Any]] = {
    "slice_seconds": 0.05,
    "slice_messages": 100,
    "compact_slices": 3,
    "late_window_hours": 0,
    "quiet_seconds": 0.0,
    "removal_grace_seconds": 0.0,
    "maintenance_interval_seconds": 0.0,
}
"""Slices as small as can be, and merging, sealing and removing without a pause: a kill always interrupts something."""

Place = tuple[str, int, int]


class Fleet:
    """Sends messages of several hours to both topics without a pause, and remembers where each one came to lie."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._futures: list[Any] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> set[Place]:
        """Stop sending and return the place of every message that was sent."""
        self._stop.set()
        self._thread.join()
        sent = [future.get(60) for future in self._futures]
        return {(one.topic, one.partition, one.offset) for one in sent}

    def _send(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._kafka.bootstrap_servers[0], compression_type="zstd")
        number = 0
        while not self._stop.wait(0.01):
            for node in range(4):
                at_us = START_US + number // MESSAGES_PER_HOUR * HOUR_US + number
                power = gpu_power(f"n{node}", number, at_us, clock="driven")
                tokens = token_counters(f"n{node}", number, at_us, clock="driven")
                for topic, message in (
                    (self._kafka.gpu_power_topic, power),
                    (self._kafka.token_counters_topic, tokens),
                ):
                    future = producer.send(topic, encode(message), key=f"{number}".encode())
                    self._futures.append(future)
                number += 1
        producer.flush()
        producer.close()


class Ingest:
    """One ingest process; `wait_for` reads what it says, `kill` ends it at once."""

    def __init__(
        self, landing_dir: Path, kafka: KafkaSettings, partitions: list[int], *, two_commits: bool = False
    ) -> None:
        arguments = {
            "landing_dir": str(landing_dir),
            "bootstrap": kafka.bootstrap_servers[0],
            "gpu_power_topic": kafka.gpu_power_topic,
            "token_counters_topic": kafka.token_counters_topic,
            "settings": {**BUSY, "partitions": partitions},
            "two_commits": two_commits,
        }
        command = [sys.executable, "-m", "tests.integration.ingest_process", json.dumps(arguments)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    def wait_for(self, word: str) -> None:
        """Wait until the process says a word; fail with its own words if it ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(self.process.communicate()[1][-3000:])

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def processes(*started: Ingest) -> Iterator[list[Ingest]]:
    """Yield processes and leave none of them running."""
    running = list(started)
    try:
        yield running
    finally:
        for one in running:
            one.kill()


def landed(landing_dir: Path, table: str) -> collections.Counter[Place]:
    """Return how often each message has rows in a table."""
    with reading(landing_dir) as manifests:
        places = pl.concat(
            pl.read_parquet(file, columns=["topic", "partition", "offset"]) for file in files_for(manifests, table)
        )
    return collections.Counter(places.rows())


def finish(landing_dir: Path, kafka: KafkaSettings) -> None:
    """Read the rest in peace, and merge and seal it."""
    settings = IngestSettings(**BUSY)
    ingest_once(landing_dir, kafka, settings)
    maintain(landing_dir, settings)


def test_killed_at_any_moment_ingest_loses_and_doubles_nothing(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """Two processes share the partitions; one after the other is killed while it starts, reads, merges or seals."""
    chance = random.Random(20260301)  # noqa: S311 - the same moments in every run
    shares = [[0], [1, 2]]
    with (
        Fleet(kafka_settings) as fleet,
        processes(*(Ingest(tmp_path, kafka_settings, share) for share in shares)) as running,
    ):
        for kill in range(KILLS):
            victim = kill % len(shares)
            if kill % 6 != 5:
                running[victim].wait_for("reading")
            if kill % 3 == 2:
                running[victim].wait_for("maintaining")
                threading.Event().wait(chance.uniform(0.0, 0.06))
            else:
                threading.Event().wait(chance.uniform(0.0, 0.8))
            running[victim].kill()
            running[victim] = Ingest(tmp_path, kafka_settings, shares[victim])
        sent = fleet.finish()
    finish(tmp_path, kafka_settings)

    power = {place for place in sent if place[0] == kafka_settings.gpu_power_topic}
    assert collections.Counter(dict.fromkeys(sent, 1)) == landed(tmp_path, "messages")
    assert collections.Counter(dict.fromkeys(power, 2)) == landed(tmp_path, "gpu_samples")
    assert collections.Counter(dict.fromkeys(sent - power, 1)) == landed(tmp_path, "token_samples")
    assert {"sealed"} == {manifest.kind for manifest in list_slices(tmp_path)}
    assert len(sent) > 100 * KILLS


def test_the_same_kills_find_the_fault_where_offsets_commit_apart(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """The control: rows and offsets in two commits, killed between them, and messages land twice."""
    with Fleet(kafka_settings) as fleet:
        for _ in range(CONTROL_KILLS):
            with processes(Ingest(tmp_path, kafka_settings, [0, 1, 2], two_commits=True)) as (ingest,):
                ingest.wait_for("landed")
        sent = fleet.finish()
    counts = landed(tmp_path, "messages")

    assert counts.keys() <= sent
    assert max(counts.values()) > 1
