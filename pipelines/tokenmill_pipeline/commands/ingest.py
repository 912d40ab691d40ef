"""`tokenmill ingest`: what Kafka or a file holds, landed exactly once."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.commands.base import Call, Commands, Progress, add_command, progress_bar
from tokenmill_pipeline.supervise import stop_on_signals

if TYPE_CHECKING:
    from tokenmill_pipeline.ingest_settings import IngestSettings
    from tokenmill_pipeline.lander import IngestReport, OnProgress

DESCRIPTION: Final = """\
Lands messages as Parquet under the data directory. Rows and the offsets that they came from appear in one rename:
killed at any moment, nothing is lost and nothing is there twice. What is no message is set aside with its reason;
`tokenmill doctor` shows it.
"""
TELL_SECONDS: Final = 60.0


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "ingest", run, "land what Kafka or a file holds, exactly once", DESCRIPTION)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--follow", action="store_true", help="land what comes until SIGTERM or Ctrl-C")
    how.add_argument("--once", action="store_true", help="land what the topics hold now and stop")
    how.add_argument("--file", type=Path, metavar="FILE", help="land a file of messages, one JSON object a line")
    parser.add_argument("--accept-gaps", action="store_true", help="go on where the broker lost or deleted messages")
    parser.add_argument("--partitions", metavar="N,N", help="read these of both topics only (default all)")


def run(call: Call) -> int:
    """Ingest as asked and report."""
    from tokenmill_pipeline import ingest, ingest_file

    context = call.context
    landing_dir, settings = context.pipeline.landing_dir, _settings(call)
    if call.arguments.follow:
        with stop_on_signals() as stop:
            report = ingest.ingest_follow(landing_dir, context.kafka, settings, stop, on_progress=_teller())
    else:
        with progress_bar(quiet=call.output.form != "table") as progress:
            if call.arguments.once:
                report = ingest.ingest_once(landing_dir, context.kafka, settings, on_progress=_bar(progress))
            else:
                path = call.arguments.file
                report = ingest_file.ingest_file(landing_dir, path, settings, on_progress=_bar(progress))
    call.output.report(report, title="ingest")
    # A message may land and yet be told among the refused, for one value of it: then there are rows.
    is_empty = not report.rows and sum(report.rejected.values()) >= report.messages > 0
    if call.arguments.file is not None and is_empty:
        raise TokenmillError(_no_message(call.arguments.file, report))
    return 0


def _no_message(path: Path, report: "IngestReport") -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in report.rejected.items())
    return (
        f"nothing in {path} is a message that can be landed: each of its {report.messages} lines was refused "
        f"({reasons}); is it the file that was meant? `tokenmill doctor` shows what was refused"
    )


def _settings(call: Call) -> "IngestSettings":
    settings = call.context.ingest
    if call.arguments.accept_gaps:
        settings = dataclasses.replace(settings, accept_gaps=True)
    if call.arguments.partitions is None:
        return settings
    try:
        chosen = tuple(int(number) for number in call.arguments.partitions.split(","))
    except ValueError:
        raise UsageError(f"--partitions {call.arguments.partitions!r}: expected numbers, as in 0,1,2") from None
    return dataclasses.replace(settings, partitions=chosen)


def _bar(progress: Progress) -> "OnProgress":
    return lambda report: progress("messages", report.messages, report.messages + (report.lag_messages or 0))


def _teller() -> "OnProgress":
    told_at, told_messages = time.monotonic(), 0

    def tell(report: "IngestReport") -> None:
        nonlocal told_at, told_messages
        if time.monotonic() - told_at < TELL_SECONDS or report.messages == told_messages:
            return
        told_at, told_messages = time.monotonic(), report.messages
        refused = sum(report.rejected.values())
        print(
            f"ingest: {report.messages} messages, {report.rows} rows in {report.slices} slices, {refused} refused, "
            f"{report.lag_messages if report.lag_messages is not None else 'unknown'} waiting",
            file=sys.stderr,
            flush=True,
        )

    return tell
