"""`tokenmill doctor`: what is right and what is not, at a glance."""

import dataclasses
from datetime import UTC, datetime

from tokenmill_pipeline.commands.base import Call, Commands, add_command

DESCRIPTION = """\
Looks at the landing, the warehouse, the bills, the published file and the nodes: what has landed, what was refused and
why, which hours wait, what is withheld, who holds the writer lock. Reads only, and waits for nobody. Exit code 1 where
something is bad.
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "doctor", run, "say what is right and what is not", DESCRIPTION)
    parser.add_argument("--lag", action="store_true", help="ask the broker of [kafka] how many messages wait")


def run(call: Call) -> int:
    """Print every finding."""
    from tokenmill_pipeline.doctor import Finding, examine

    context = call.context
    findings = examine(context.pipeline, context.kafka if call.arguments.lag else None, now=datetime.now(UTC))
    names = [field.name for field in dataclasses.fields(Finding)]
    call.output.rows(names, [[getattr(finding, name) for name in names] for finding in findings])
    return 1 if any(finding.verdict == "bad" for finding in findings) else 0
