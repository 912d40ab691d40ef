"""Prints rows and reports: as a table for a person, as JSON or CSV for a machine."""

import contextlib
import csv
import dataclasses
import errno
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from tokenmill_agent.errors import TokenmillError

Form = Literal["table", "json", "csv"]

NOTHING: Final = "-"
"""What a person sees where a value is missing; never 0."""
PIPE_WIDTH: Final = 10_000
READABLE_WIDTH: Final = 120
HEAD_WIDTH: Final = 14


class OutputError(TokenmillError):
    """The output cannot be written: its disk is full, or its device is broken."""


class Output:
    """Prints to one stream in one form.

    A table that is wider than the terminal is printed as one record below the other, so that nothing is cut off.
    """

    def __init__(self, form: Form = "table", stream: TextIO | None = None) -> None:
        """Print to `stream`, standard output where none is given."""
        self.form = form
        self._stream = stream or sys.stdout

    def rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
        """Print rows under their column names; raises OutputError."""
        with self._writing():
            self._rows(names, rows, title)

    def _rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
        if self.form == "json":
            self._json([dict(zip(names, map(plain, row), strict=True)) for row in rows])
        elif self.form == "csv":
            writer = csv.writer(self._stream, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([["" if value is None else plain(value) for value in row] for row in rows])
        else:
            self._table(names, rows, title)

    def report(self, report: Any, *, title: str = "") -> None:
        """Print the fields of a dataclass, or of a mapping, one a line; raises OutputError."""
        with self._writing():
            self._report(report, title)

    def _report(self, report: Any, title: str) -> None:
        fields = dataclasses.asdict(report) if dataclasses.is_dataclass(report) else dict(report)  # type: ignore[arg-type]
        if self.form == "json":
            self._json({name: plain(value) for name, value in fields.items()})
        elif self.form == "csv":
            self._rows(["field", "value"], list(fields.items()), title)
        else:
            lines = [[name.replace("_", " "), value] for name, value in _flat(fields)]
            self._table(["", ""], lines, title)

    def say(self, line: str) -> None:
        """Print a sentence for a person; machines do not get it. Raises OutputError."""
        if self.form == "table":
            with self._writing():
                print(line, file=self._stream)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write all of it, for what stays in a buffer would fail where nobody can tell why."""
        try:
            yield
            self._stream.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO):
                raise
            raise OutputError(f"cannot write the output: {error.strerror}") from error

    def _json(self, value: Any) -> None:
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), file=self._stream)

    def _table(self, names: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
        from rich.console import Console

        at_terminal = self._stream.isatty()
        width = None if at_terminal else PIPE_WIDTH
        console = Console(file=self._stream, width=width, highlight=False, markup=False, emoji=False)
        texts = [[readable(value) for value in row] for row in rows]
        room = console.width if at_terminal else READABLE_WIDTH
        heads = list(names) if _width(names, texts) <= room else _folded(names, texts)
        if at_terminal and _width(heads, texts) > room and len(names) > 2:
            self._records(names, texts, title)
            return
        console.print(_rich_table(heads, rows, texts, title), soft_wrap=not at_terminal)

    def _records(self, names: Sequence[str], texts: Sequence[Sequence[str]], title: str) -> None:
        if title:
            print(title, file=self._stream)
        indent = max(map(len, names))
        for number, row in enumerate(texts, 1):
            print(f"-- {number} of {len(texts)}", file=self._stream)
            for name, text in zip(names, row, strict=True):
                print(f"{name:<{indent}}  {text}", file=self._stream)


def plain(value: Any) -> Any:  # noqa: PLR0911 - one line per kind of value
    """Return a value as JSON has it: times in ISO 8601, decimals as numbers, missing and non-finite as null."""
    if isinstance(value, datetime):
        return value.isoformat(sep="T") + ("" if value.tzinfo else "Z")
    if isinstance(value, date | timedelta | Path):
        return str(value)
    if isinstance(value, Decimal):
        return plain(float(value)) if value.is_finite() else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def readable(value: Any) -> str:  # noqa: PLR0911 - one line per kind of value
    """Return a value as a person reads it: grouped digits, four of them where there is a fraction."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | Decimal):
        return _fraction(float(value))
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M" if not value.second else "%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple):
        return ", ".join(map(readable, value)) or NOTHING
    if isinstance(value, dict):
        return ", ".join(f"{key}: {readable(item)}" for key, item in value.items()) or NOTHING
    return printable(str(value))


def printable(text: str) -> str:
    """Return text without control characters: names come from anyone who can reach Kafka, a terminal obeys escapes."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _fraction(value: float) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 1 else 4
    return f"{value:,.{decimals}f}" if size >= 0.001 else f"{value:.3g}"


def _folded(names: Sequence[str], texts: Sequence[Sequence[str]]) -> list[str]:
    """Return the names broken at their underscores into lines that are hardly wider than what stands below them."""
    widths = [max([HEAD_WIDTH, *(len(row[index]) for row in texts)]) for index in range(len(names))]
    return [_fold(name, width) for name, width in zip(names, widths, strict=True)]


def _fold(name: str, width: int) -> str:
    lines = [""]
    for part in re.findall(r"[^_]*_|[^_]+$", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _width(heads: Sequence[str], texts: Sequence[Sequence[str]]) -> int:
    widths = [
        max([*map(len, head.split("\n")), *(len(row[index]) for row in texts)]) for index, head in enumerate(heads)
    ]
    return sum(widths) + 3 * len(widths)


def _rich_table(names: Sequence[str], rows: Sequence[Sequence[Any]], texts: Sequence[Sequence[str]], title: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(names)
    )
    for index, name in enumerate(names):
        numeric = any(isinstance(row[index], int | float | Decimal) for row in rows)
        table.add_column(name, justify="right" if numeric and any(names) else "left", no_wrap=True)
    for row in texts:
        table.add_row(*row)
    return table


def _flat(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield fields by name, those of a report inside the report after its name."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name} {inner}", part) for inner, part in _flat(value))
        else:
            yield name, value
