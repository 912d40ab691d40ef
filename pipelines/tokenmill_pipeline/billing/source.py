"""Reads a bill's files into one table of text per file, words for null apart, and sets aside rows without its shape.

CSV goes through DuckDB's reader, which is fast and strict. Where it objects to anything, the file is read once more,
row by row, so that every row that has no place under the header is set aside with its line, and the rest is kept.
"""

import csv
import dataclasses
import functools
import gzip
import hashlib
import io
import tempfile
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import duckdb

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.billing import focus
from tokenmill_pipeline.billing.focus import Shape

CSV_SUFFIXES: Final = (".csv", ".csv.gz")
PARQUET_SUFFIXES: Final = (".parquet",)
DELIMITERS: Final = (",", ";", "\t", "|")
FIELD_CHARACTERS_MAX: Final = 1_900_000
"""DuckDB's own limit on a line is 2 MB."""

WORDS_FOR_NULL: Final = ("", " ", "NULL", "null", "Null", "(null)", "(NULL)")
_RECORD: Final = "record_number"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BillFile:
    """One file of a bill: its content's digest, its columns in order and how to read it."""

    path: Path
    digest: str
    header: tuple[str, ...]
    delimiter: str | None
    shape: Shape

    @property
    def name(self) -> str:
        """Return the name that charges and refusals carry."""
        return self.path.name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A row that does not fit under the header: its number (the header not counted), why, and its text."""

    row_number: int
    reason: str
    detail: str
    payload: str


def find(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the bill files that `path` names (a file, a directory, or a pattern) and the other files found there.

    Raises:
        UsageError: nothing that could be a bill is there.
    """
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.is_file())
    else:
        found = sorted(item for item in path.parent.glob(path.name) if item.is_file()) if path.parent.is_dir() else []
    bills = [item for item in found if _is_bill(item)]
    if not found:
        raise UsageError(f"{path}: there is no such file, directory or pattern with a match")
    if not bills:
        raise UsageError(
            f"{path}: no file that can be a bill; it must end in {', '.join((*CSV_SUFFIXES, *PARQUET_SUFFIXES))}"
        )
    return bills, [item for item in found if item not in bills]


def inspect(path: Path) -> BillFile:
    """Return what a file is, from its header and content.

    Raises:
        UsageError: it cannot be read, is not what its name says, or has the shape of no known bill.
    """
    try:
        digest = _digest(path)
        header, delimiter = _parquet_header(path) if _is_parquet(path) else _csv_header(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return BillFile(
        path=path, digest=digest, header=header, delimiter=delimiter, shape=focus.recognise(header, str(path))
    )


def stage(
    connection: duckdb.DuckDBPyConnection, bill: BillFile, *, malformed_rows_max: int, work_dir: Path
) -> list[Malformed]:
    """Fill the temporary view `bill_rows`: row_number and every column as text; return the rows that did not fit.

    Raises:
        TokenmillError: the file is damaged, or more than `malformed_rows_max` rows do not fit under its header.
    """
    try:
        if bill.delimiter is None:
            _stage_parquet(connection, bill)
            return []
        try:
            _stage_csv(connection, bill.path, bill.header, bill.delimiter)
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            return _stage_csv_by_row(connection, bill, malformed_rows_max, work_dir)
    except duckdb.Error as error:
        raise TokenmillError(f"cannot read {bill.path}: {str(error).splitlines()[0]}") from error
    return []


def unstage(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop the text of the file that was staged last: it is as large as the file."""
    connection.execute("drop view if exists bill_rows")
    connection.execute("drop table if exists bill_text")


def _is_bill(path: Path) -> bool:
    return path.name.lower().endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES)) and not path.name.startswith(".")


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(PARQUET_SUFFIXES)


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _parquet_header(path: Path) -> tuple[tuple[str, ...], None]:
    try:
        with duckdb.connect() as connection:
            rows = connection.execute("describe select * from read_parquet($path)", {"path": str(path)}).fetchall()
    except duckdb.Error as error:
        raise UsageError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from error
    return tuple(row[0] for row in rows), None


def _csv_header(path: Path) -> tuple[tuple[str, ...], str]:
    try:
        with _open_bytes(path) as handle:
            first = handle.readline(FIELD_CHARACTERS_MAX)
        line = first.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is no gzip file: {error}") from error
    if not line.strip():
        raise UsageError(f"{path} is empty: a bill starts with a line of column names")
    known = {delimiter: _known(_split(line, delimiter)) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda candidate: known[candidate])
    return _unique(_split(line, delimiter)), delimiter


def _known(names: Sequence[str]) -> int:
    known = {focus.fold(name) for name in focus.KNOWN_COLUMNS}
    return sum(focus.fold(name) in known for name in names)


def _split(line: str, delimiter: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names with a number behind those that are empty or that only a column without meaning repeats."""
    known = {focus.fold(name) for name in focus.KNOWN_COLUMNS}
    seen: set[str] = set()
    unique = []
    for number, name in enumerate(names, start=1):
        if not name or (name.lower() in seen and focus.fold(name) not in known):
            unique.append(f"x_column_{number}")
        else:
            unique.append(name)
        seen.add(name.lower())
    return tuple(unique)


def _open_bytes(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return typing.cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def _stage_csv(connection: duckdb.DuckDBPyConnection, path: Path, header: Sequence[str], delimiter: str) -> None:
    connection.execute(
        f"""
        create or replace temp table bill_text as
        select * from read_csv(
            $path, auto_detect = false, header = true, delim = $delimiter, quote = '"', escape = '"',
            nullstr = $words_for_null, max_line_size = 2000000,
            columns = {{{", ".join(f"{_literal(name)}: 'VARCHAR'" for name in header)}}}
        )
        """,
        {"path": str(path), "delimiter": delimiter, "words_for_null": list(WORDS_FOR_NULL)},
    )
    # Insertion order is kept, so the place in the table is the place in the file.
    number = f"{_RECORD}::bigint" if header[0] == _RECORD else "rowid + 1"
    rest = f"* exclude ({_RECORD})" if header[0] == _RECORD else "*"
    connection.execute(f"create or replace temp view bill_rows as select {number} as row_number, {rest} from bill_text")


def _stage_parquet(connection: duckdb.DuckDBPyConnection, bill: BillFile) -> None:
    path = {"path": str(bill.path)}
    columns = connection.execute("describe select * from read_parquet($path)", path).fetchall()
    texts = ", ".join(f"{_as_text(name, kind)} as {focus.identifier(name)}" for name, kind, *_ in columns)
    connection.execute(
        f"create or replace temp table bill_text as select {texts} from read_parquet($path)",
        path,
    )
    connection.execute("create or replace temp view bill_rows as select rowid + 1 as row_number, * from bill_text")


def _as_text(name: str, kind: str) -> str:
    column = focus.identifier(name)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({column} at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind.startswith("TIMESTAMP"):
        # A typed time says what it is; Parquet's times without a zone are UTC by the specification of the bill.
        return f"strftime({column}::timestamp, '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind == "DATE":
        return f"strftime({column}, '%Y-%m-%dT00:00:00Z')"
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("]"):
        return f"to_json({column})::varchar"
    if kind == "VARCHAR":
        return f"case when {column} not in ({', '.join(map(_literal, WORDS_FOR_NULL))}) then {column} end"
    return f"{column}::varchar"


def _stage_csv_by_row(
    connection: duckdb.DuckDBPyConnection, bill: BillFile, malformed_rows_max: int, work_dir: Path
) -> list[Malformed]:
    malformed: list[Malformed] = []
    with tempfile.TemporaryDirectory(prefix="bill-", dir=work_dir) as directory:
        clean = Path(directory) / "rows.csv"
        with clean.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow((_RECORD, *bill.header))
            for item in _rows(bill):
                if isinstance(item, Malformed):
                    malformed.append(item)
                    _check_count(bill, malformed, malformed_rows_max)
                else:
                    writer.writerow(item)
        _stage_csv(connection, clean, (_RECORD, *bill.header), ",")
    return malformed


def _check_count(bill: BillFile, malformed: Sequence[Malformed], malformed_rows_max: int) -> None:
    if len(malformed) > malformed_rows_max:
        first = malformed[0]
        raise UsageError(
            f"{bill.path}: more than {malformed_rows_max} rows do not fit under its header, the first in row "
            f"{first.row_number} ({first.detail}); it is no CSV with the delimiter {bill.delimiter!r}"
        )


def _rows(bill: BillFile) -> Iterator[list[str] | Malformed]:
    """Yield each row with its number in front, or why it has no place; empty lines are no rows."""
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    width = len(bill.header)
    with io.TextIOWrapper(_open_bytes(bill.path), "utf-8-sig", "surrogateescape", newline="") as handle:
        reader = csv.reader(handle, delimiter=bill.delimiter or ",", strict=True)
        next(reader)
        number, line = 0, reader.line_num
        # A row that the reader objects to raises out of `next`, after which it goes on with the next line.
        for fields in iter(functools.partial(_next_row, reader), None):
            first_line, line = line + 1, reader.line_num
            if fields == []:
                continue
            number += 1
            yield _checked(
                fields, number, f"line {first_line}" if first_line == line else f"lines {first_line} to {line}", width
            )


def _next_row(reader: "csv._reader") -> list[str] | str | None:  # type: ignore[name-defined]
    try:
        return next(reader, None)
    except csv.Error as error:
        return str(error)


def _checked(fields: Sequence[str] | str, number: int, place: str, width: int) -> list[str] | Malformed:
    if isinstance(fields, str):
        return Malformed(row_number=number, reason="unreadable_row", detail=f"{place}: {fields}", payload="")
    while len(fields) > width and not fields[-1]:
        fields = fields[:-1]
    payload = ",".join(fields)
    if len(fields) != width:
        return Malformed(
            row_number=number,
            reason="wrong_column_count",
            detail=f"{place}: {len(fields)} fields under {width} columns",
            payload=_printable(payload),
        )
    if not payload.isascii() and any("\udc80" <= character <= "\udcff" for character in payload):
        return Malformed(
            row_number=number,
            reason="not_utf8",
            detail=f"{place}: bytes that are not UTF-8",
            payload=_printable(payload),
        )
    return [str(number), *fields]


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
