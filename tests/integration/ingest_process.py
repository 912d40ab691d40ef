"""Follows Kafka as `tokenmill ingest --follow` does, and says on its standard output what it is about to do.

Run as `python -m tests.integration.ingest_process JSON`; `two_commits` keeps offsets apart from the rows, which is
wrong on purpose: a test that cannot tell it from the right way proves nothing.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import ingest, kafka_reader
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.lander import IngestReport, Lander
from tokenmill_pipeline.landing import Head, OffsetRange
from tokenmill_pipeline.seal import MaintenanceReport, maintain


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def telling_maintain(landing_dir: Path, settings: IngestSettings) -> MaintenanceReport | None:
    """Maintain, as ingest does beside reading."""
    say("maintaining")
    return maintain(landing_dir, settings)


def keep_offsets_apart(landing_dir: Path) -> None:
    """Commit rows first and offsets later, in a file of their own."""
    file = landing_dir / "offsets.json"
    cut = Lander.cut

    def stored_heads(_landing_dir: Path) -> dict[tuple[str, int], Head]:
        stored = json.loads(file.read_text()) if file.exists() else []
        return {
            (topic, partition): Head(
                topic=topic, partition=partition, topic_id=None, next_offset=offset, landed_at_us=0
            )
            for topic, partition, offset in stored
        }

    def cut_then_commit(lander: Lander, offsets: Sequence[OffsetRange]) -> None:
        cut(lander, offsets)
        say("landed")
        time.sleep(0.2)
        file.write_text(json.dumps([(read.topic, read.partition, read.next_offset) for read in offsets]))

    mock.patch.object(kafka_reader, "stored_heads", stored_heads).start()
    mock.patch.object(Lander, "cut", cut_then_commit).start()


def main(arguments: dict[str, Any]) -> None:
    """Follow until killed."""
    landing_dir = Path(arguments["landing_dir"])
    kafka = KafkaSettings(
        bootstrap_servers=(arguments["bootstrap"],),
        gpu_power_topic=arguments["gpu_power_topic"],
        token_counters_topic=arguments["token_counters_topic"],
    )
    settings = IngestSettings(**{**arguments["settings"], "partitions": tuple(arguments["settings"]["partitions"])})
    mock.patch.object(ingest, "maintain", telling_maintain).start()
    if arguments["two_commits"]:
        keep_offsets_apart(landing_dir)
    said = False

    def on_progress(report: IngestReport) -> None:
        nonlocal said
        if report.messages and not said:
            said = True
            say("reading")

    ingest.ingest_follow(landing_dir, kafka, settings, threading.Event(), on_progress=on_progress)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
