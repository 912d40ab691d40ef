"""What every command shares: its place in the parser, its settings and how it prints."""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.tables import Output

if TYPE_CHECKING:
    from tokenmill_pipeline.context import Context

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it
Progress = Callable[[str, int, int], None]

HOUR_FORMS: Final = "2026-11-24T13 or 2026-11-24T13:00, in UTC"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a command: its arguments, where it prints, and its settings, read when they are first needed."""

    arguments: argparse.Namespace
    output: Output

    @property
    def context(self) -> "Context":
        """Return the settings of this run; raises UsageError."""
        from tokenmill_pipeline import context

        return context.load(self.config, self.data_dir)

    @property
    def config(self) -> Path | None:
        """Return the configuration file that was named."""
        return getattr(self.arguments, "config", None)

    @property
    def data_dir(self) -> Path | None:
        """Return the data directory that was named."""
        return getattr(self.arguments, "data_dir", None)


Run = Callable[[Call], int]


def common_flags() -> argparse.ArgumentParser:
    """Return the flags that may stand before and after a command's name."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("everywhere")
    group.add_argument("--config", type=Path, metavar="FILE", help="the configuration, instead of ./tokenmill.toml")
    group.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data directory, instead of [pipeline] data_dir"
    )
    group.add_argument("--json", action="store_true", help="print JSON for machines instead of tables")
    return parser


def add_command(
    commands: Commands, name: str, run: Run, summary: str, description: str = ""
) -> argparse.ArgumentParser:
    """Return the parser of a new command that calls `run`."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        parents=[common_flags()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Commands, name: str, summary: str) -> Commands:
    """Return where the commands of the new group `name` are added."""
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def hour(text: str) -> datetime:
    """Read an hour in UTC, as the warehouse keeps it: without a zone.

    Raises:
        UsageError: it is no time, or not the start of an hour.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not an hour; write {HOUR_FORMS}") from None
    moment = found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    if moment.minute or moment.second or moment.microsecond:
        raise UsageError(f"{text!r} is not the start of an hour; write {HOUR_FORMS}")
    return moment


@contextlib.contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """Yield what shows `(what, done, total)` as a bar at a terminal, and does nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show
