"""`tokenmill build` and `tokenmill publish`: from what was landed to the tables that analysts read."""

import argparse
from datetime import UTC, datetime
from typing import Final

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.commands.base import HOUR_FORMS, Call, Commands, add_command, hour, progress_bar

BUILD: Final = f"""\
Measures, attributes and prices every dirty hour: one with new telemetry, a changed bill or a changed price; checks that
every dollar, joule, GPU-second and token is accounted for; publishes. An hour is built once it has ended and
[build] grace_seconds have passed. With --from and --to the hours of that range are built whether dirty or not; an hour
whose figures do not change gets no new revision. Hours are written {HOUR_FORMS}.
"""
PUBLISH: Final = """\
Copies the current tables into a new analytics.duckdb and swaps it whole. A reader that holds the old file keeps it.
`tokenmill build` publishes at its end; this command is for after a build with --no-publish.
"""


def register(commands: Commands) -> None:
    """Add both commands."""
    build = add_command(commands, "build", run_build, "build every dirty hour and publish", BUILD)
    build.add_argument("--from", dest="hour_from", metavar="HOUR", help="the first hour, UTC")
    build.add_argument("--to", dest="hour_to", metavar="HOUR", help="the hour before which to stop, UTC")
    build.add_argument("--no-publish", action="store_true", help="leave analytics.duckdb as it is")
    publish = add_command(commands, "publish", run_publish, "swap in a new copy of the published tables", PUBLISH)
    publish.add_argument("--full", action="store_true", help="write the file anew, which gives back unused space")


def run_build(call: Call) -> int:
    """Build and say what was done."""
    from tokenmill_pipeline.build import build

    run = call.context
    hours = span(call.arguments)
    with progress_bar(quiet=call.output.form != "table") as progress:
        report = build(
            run.pipeline,
            run.build,
            run.fleet,
            run.billing,
            now=datetime.now(UTC),
            hours=hours,
            publish_after=not call.arguments.no_publish,
            progress=progress,
        )
    call.output.report(report, title="build")
    return 0


def run_publish(call: Call) -> int:
    """Publish and say what was done."""
    from tokenmill_pipeline.publish import publish_alone

    report = publish_alone(call.context.pipeline, now=datetime.now(UTC), full=call.arguments.full)
    call.output.report(report, title="publish")
    return 0


def span(arguments: argparse.Namespace) -> tuple[datetime, datetime] | None:
    """Return the hours that were asked for, None where none were.

    Raises:
        UsageError: only one end was given, or they are the wrong way round.
    """
    first, end = arguments.hour_from, arguments.hour_to
    if first is None and end is None:
        return None
    if first is None or end is None:
        raise UsageError("--from and --to belong together")
    found = hour(first), hour(end)
    if found[0] >= found[1]:
        raise UsageError(f"--from {first} is not before --to {end}")
    return found
