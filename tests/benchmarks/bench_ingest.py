"""How many GPU rows ingest lands in a second: `python -m tests.benchmarks.bench_ingest [MESSAGES]`.

From the embedded broker, from a real Apache Kafka where one can be had, and from a file; each beside its bound, which
is fetching the same messages, or reading the same bytes, and doing nothing with them. A message holds one row of each
of eight GPUs and is a batch of its own, as a fleet of nodes sends it. Each run has a process of its own on one core,
the broker keeps the others. REPEATS=5 in the environment.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.table import Measurement, print_table
from tests.kafka_broker import KafkaUnavailableError, send, start_kafka
from tests.wire_messages import gpu_power
from tokenmill_agent.records import GpuPowerMessage
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.wire import encode
from tokenmill_pipeline import broker
from tokenmill_pipeline.ingest import ingest_once
from tokenmill_pipeline.ingest_file import ingest_file
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.kafka_client import open_consumer
from tokenmill_pipeline.kafka_reader import Reader
from tokenmill_pipeline.landing_write import now_us
from tokenmill_pipeline.topics import TopicSettings, create_topics

MESSAGES: Final = 6_000
GPUS_PER_NODE: Final = 8
NODES: Final = 200
COMMAND: Final = (sys.executable, "-m", "tests.benchmarks.bench_ingest")


def main(arguments: list[str]) -> None:
    """Measure every way in, each run in a process of its own, and print one table."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(_one(json.loads(arguments[1]))))
        return
    if arguments[:1] == ["--write"]:
        values = [encode(_message(number)) for number in range(int(arguments[2]))]
        Path(arguments[1]).write_bytes(b"\n".join(values) + b"\n")
        return
    if arguments[:1] == ["--send"]:
        send(arguments[1], KafkaSettings().gpu_power_topic, Path(arguments[2]).read_bytes().splitlines())
        return
    messages = int(arguments[0]) if arguments else MESSAGES
    repeats = int(os.environ.get("REPEATS", "3"))
    found: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name:
        folder = Path(name)
        file = folder / "messages.jsonl"
        # In processes of their own: the peak memory of a child begins with its parent's.
        subprocess.run([*COMMAND, "--write", str(file), str(messages)], check=True)
        size_bytes = file.stat().st_size // messages
        print(f"{messages:,} messages of {size_bytes:,} bytes, {repeats} runs each, one core for ingest")
        found += _measure("file", {"way": "file", "file": str(file)}, messages, repeats)
        for label, bootstrap in _brokers(folder):
            create_topics(KafkaSettings(bootstrap_servers=(bootstrap,)), TopicSettings(timeout_seconds=30.0))
            subprocess.run([*COMMAND, "--send", bootstrap, str(file)], check=True)
            found += _measure(label, {"way": "broker", "bootstrap": bootstrap}, messages, repeats)
    print_table(found)


def _message(number: int) -> GpuPowerMessage:
    chance = random.Random(number)  # noqa: S311 - readings, not secrets
    message = gpu_power(f"node-{number % NODES:04d}", number, now_us(), gpus=GPUS_PER_NODE)
    samples = message.samples
    for column in (samples.energy_counter_millijoules, samples.power_mean_milliwatts, samples.memory_used_bytes):
        column[:] = [chance.randrange(100_000, 700_000) for _ in column]
    return message


def _brokers(folder: Path) -> Iterator[tuple[str, str]]:
    with broker.running(folder / "embedded") as embedded:
        yield "embedded broker", embedded.bootstrap
    with _real_kafka(folder) as bootstrap:
        if bootstrap is not None:
            yield "Apache Kafka", bootstrap


@contextmanager
def _real_kafka(folder: Path) -> Iterator[str | None]:
    (folder / "kafka").mkdir()
    try:
        real = start_kafka(folder / "kafka")
    except KafkaUnavailableError as error:
        print(f"without a real Apache Kafka: {error}")
        yield None
        return
    try:
        yield real.bootstrap
    finally:
        real.stop()


def _measure(label: str, task: dict[str, Any], messages: int, repeats: int) -> list[Measurement]:
    bound = "reading the bytes" if task["way"] == "file" else "fetching only"
    runs: dict[str, list[dict[str, float]]] = {"bound": [], "ingest": []}
    for _ in range(repeats):
        for what, results in runs.items():
            done = subprocess.run(
                [*COMMAND, "--one", json.dumps({**task, "what": what})],
                check=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "POLARS_MAX_THREADS": "1"},
            )
            results.append(json.loads(done.stdout))
    rows = messages * GPUS_PER_NODE
    kinds = ((f"bound: {bound}", "bound", "wall"), ("ingest", "ingest", "wall"), ("ingest, CPU time", "ingest", "cpu"))
    return [
        Measurement(
            name=f"{label}, {name}",
            seconds=[run[clock] for run in runs[what]],
            peak_bytes=max(int(run["peak_bytes"]) for run in runs[what]),
            rows=rows,
        )
        for name, what, clock in kinds
    ]


def _one(task: dict[str, Any]) -> dict[str, float]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="bench-landing-") as landing_dir:
        wall, cpu = time.perf_counter(), time.process_time()
        if task["way"] == "file":
            _from_file(Path(task["file"]), Path(landing_dir), task["what"])
        else:
            _from_broker(task["bootstrap"], Path(landing_dir), task["what"])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"wall": wall, "cpu": cpu, "peak_bytes": peak}


def _from_file(file: Path, landing_dir: Path, what: str) -> None:
    if what == "ingest":
        ingest_file(landing_dir, file, IngestSettings())
        return
    with file.open("rb") as handle:
        while handle.read(1024 * 1024):
            pass


def _from_broker(bootstrap: str, landing_dir: Path, what: str) -> None:
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,))
    if what == "ingest":
        ingest_once(landing_dir, kafka, IngestSettings())
        return
    with Reader(landing_dir, kafka, IngestSettings()) as reader:
        ends = reader.ends()
    consumer = open_consumer(kafka, 10.0)
    consumer.assign(list(ends))
    for partition in ends:
        consumer.seek(partition, 0)
    fetched, wanted = 0, sum(ends.values())
    while fetched < wanted:
        fetched += sum(map(len, consumer.poll(200).values()))
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
