"""`tokenmill billing load`: bills and prices into the warehouse."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.commands.base import Call, Commands, add_command, add_group, progress_bar

if TYPE_CHECKING:
    from tokenmill_pipeline.billing.load import LoadOptions, LoadReport

DESCRIPTION: Final = """\
Loads a bill in the columns of FOCUS 1.0 to 1.4 (CSV or Parquet; a directory is one bill in parts) or a price file
(TOML: rate cards, tariffs, PUE, exchange rates). Each row becomes a charge or is set aside with its reason; the same
file twice changes nothing. Amounts stay in the currency of the bill. The flags fill in what a file does not say; a
missing currency is an error. The hours that the charges touch are built anew by the next `tokenmill build`.
"""


def register(commands: Commands) -> None:
    """Add the group."""
    group = add_group(commands, "billing", "bills, rate cards and prices")
    load = add_command(group, "load", run, "load a bill or a price file", DESCRIPTION)
    load.add_argument(
        "path", nargs="*", type=Path, metavar="PATH", help="what to load; without it, [billing] inbox_dir"
    )
    load.add_argument("--provider", metavar="NAME", help="who sent it, where the file does not say")
    load.add_argument("--account", metavar="ID", help="the billing account, where the file does not say")
    load.add_argument("--currency", metavar="CODE", help="the billing currency (ISO 4217), where the file does not say")
    load.add_argument(
        "--delivery",
        choices=("append", "replace"),
        help="replace: supersede what was there of the same provider, account and billing period (default append)",
    )
    load.add_argument("--data-until", metavar="TIME", help="the bill is complete until then (ISO 8601, UTC)")
    load.add_argument("--closed", action="store_true", help="the billing period is closed: the figures are final")


def run(call: Call) -> int:
    """Load every path and print what became of its rows."""
    from tokenmill_pipeline.billing import load

    context, now, options = call.context, datetime.now(UTC), _options(call)
    settings, billing = context.pipeline, context.billing
    with progress_bar(quiet=call.output.form != "table") as progress:

        def tell(step: str) -> None:
            progress(step, 0, 0)

        if call.arguments.path:
            reports = [
                load.load_path(settings, billing, path, options=options, now=now, progress=tell)
                for path in call.arguments.path
            ]
        else:
            reports = load.load_inbox(settings, billing, now=now, progress=tell)
    for report in reports:
        _print(call, report)
    return 0


def _options(call: Call) -> "LoadOptions":
    from tokenmill_pipeline.billing.load import LoadOptions

    arguments = call.arguments
    return LoadOptions(
        provider=arguments.provider,
        account=arguments.account,
        currency=arguments.currency,
        delivery=arguments.delivery,
        data_until_at=None if arguments.data_until is None else _moment(arguments.data_until),
        is_closed=arguments.closed,
    )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--data-until {text!r} is not a time; write 2026-11-24T13:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _print(call: Call, report: "LoadReport") -> None:
    """Print all of the report for a machine, and for a person a line per delivery and the sums."""
    from tokenmill_pipeline.billing import summary

    if call.output.form != "table":
        call.output.report(report)
        return
    if report.deliveries:
        call.output.rows(summary.DELIVERY_NAMES, summary.delivery_rows(report), title=str(report.path))
    call.output.report(summary.facts(report), title="" if report.deliveries else str(report.path))
    for note in report.notes:
        call.output.say(note)
