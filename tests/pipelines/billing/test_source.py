"""Reading a bill's files: every row comes out as it stands, or is set aside with the line it is on."""

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.pipelines.billing.bills import (
    FLAGS,
    MINIMAL_HEADER,
    NOW,
    in_memory,
    load_into,
    run,
    settings,
    usage,
    write_bill,
)
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.billing import load, source
from tokenmill_pipeline.billing.settings import BillingSettings


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return an empty warehouse in memory."""
    with in_memory() as opened:
        yield opened


def _stage(
    connection: duckdb.DuckDBPyConnection, path: Path, malformed_rows_max: int = 100
) -> tuple[list[tuple[Any, ...]], list[source.Malformed]]:
    """Return the rows that fit, each with its number in front, and those that do not."""
    malformed = source.stage(
        connection, source.inspect(path), malformed_rows_max=malformed_rows_max, work_dir=path.parent
    )
    return connection.execute("select * from bill_rows order by row_number").fetchall(), malformed


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_byte_order_mark_and_blank_lines_change_nothing(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, end: str, mark: str
) -> None:
    """A file reads the same however its editor wrote it."""
    bill = tmp_path / "bill.csv"
    bill.write_bytes((mark + end.join([MINIMAL_HEADER, usage(0), "", usage(1)])).encode())

    kept, malformed = _stage(connection, bill)

    assert [usage(0), usage(1)] == [",".join(map(str, row[1:])) for row in kept]
    assert [1, 2] == [row[0] for row in kept]
    assert [] == malformed


def test_rows_that_do_not_fit_are_set_aside_with_their_lines(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Short, long, wrongly quoted and undecodable rows are named one by one, and the rest is read."""
    lines = [usage(0), "a,b", usage(1) + ",x,y", usage(2).replace("Example", '"Exa"mple'), usage(3)]
    bill = tmp_path / "bill.csv"
    bill.write_bytes("\n".join([MINIMAL_HEADER, *lines]).encode() + b"\n" + usage(4).encode() + b"\xff\n")

    kept, malformed = _stage(connection, bill)

    assert [1, 5] == [row[0] for row in kept]
    assert [
        (2, "wrong_column_count", "line 3: 2 fields under 10 columns"),
        (3, "wrong_column_count", "line 4: 12 fields under 10 columns"),
        (4, "unreadable_row", "line 5: ',' expected after '\"'"),
        (6, "not_utf8", "line 7: bytes that are not UTF-8"),
    ] == [(row.row_number, row.reason, row.detail) for row in malformed]
    assert malformed[3].payload.endswith("Example\\udcff")


def test_refused_rows_keep_their_number_and_reason_in_the_warehouse(tmp_path: Path) -> None:
    """What does not fit is stored beside what cannot be a charge, and both are counted in the summary."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), "too,short", usage(1, cost="free")])

    report = run(tmp_path, bill)

    assert {"amount_unreadable": 1, "wrong_column_count": 1} == report.reasons
    assert (1, 2) == (report.rows_loaded, report.rows_set_aside)
    assert 2 == report.deliveries[0].rejected_row_count


def test_a_quote_that_is_never_closed_costs_one_row(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """The rows before it are kept; what it swallowed is set aside with its lines."""
    bill = write_bill(tmp_path / "bill.csv", [usage(0), '"open' + usage(1), usage(2)])

    kept, malformed = _stage(connection, bill)

    assert [1] == [row[0] for row in kept]
    assert [(2, "unreadable_row")] == [(row.row_number, row.reason) for row in malformed]
    assert malformed[0].detail.startswith("lines 3 to 4")


def test_line_ends_that_change_within_a_file_are_read(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """A file glued together from two systems loses nothing."""
    bill = tmp_path / "bill.csv"
    bill.write_bytes(f"{MINIMAL_HEADER}\r\n{usage(0)}\r\n{usage(1)}\n{usage(2)}\n".encode())

    kept, malformed = _stage(connection, bill)

    assert ([1, 2, 3], []) == ([row[0] for row in kept], malformed)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_found_by_the_header(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, delimiter: str
) -> None:
    """The delimiter is the one that makes FOCUS columns of the header."""
    bill = tmp_path / "bill.csv"
    bill.write_text("\n".join([MINIMAL_HEADER, usage(0)]).replace(",", delimiter) + "\n", encoding="utf-8")

    kept, _ = _stage(connection, bill)

    assert usage(0) == ",".join(map(str, kept[0][1:]))


def test_a_compressed_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    """`.csv.gz` is read in both ways, the fast one and the one by row."""
    clean, dirty = tmp_path / "clean.csv.gz", tmp_path / "dirty.csv.gz"
    clean.write_bytes(gzip.compress("\n".join([MINIMAL_HEADER, usage(0)]).encode()))
    dirty.write_bytes(gzip.compress("\n".join([MINIMAL_HEADER, usage(1), "short"]).encode()))

    reports = [run(tmp_path, path) for path in (clean, dirty)]

    assert [(1, 0), (1, 1)] == [(report.rows_loaded, report.rows_set_aside) for report in reports]


def test_parquet_with_its_own_types_gives_the_same_charges(tmp_path: Path) -> None:
    """Typed times, decimals and maps of a Parquet export become the same rows as their CSV."""
    path = tmp_path / "bill.parquet"
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(
            f"""
            copy (
                select 'acct' as BillingAccountId, 'USD' as BillingCurrency,
                    timestamp '2025-05-01' as BillingPeriodStart,
                    date '2025-06-01' as BillingPeriodEnd, timestamptz '2025-05-01 00:00:00+00' as ChargePeriodStart,
                    timestamp '2025-05-01 01:00:00' as ChargePeriodEnd, 'Usage' as ChargeCategory,
                    0.123456789012::decimal(38, 18) as BilledCost, 1e-7::double as EffectiveCost,
                    'Example' as ProviderName, map {{'team': 'a"b'}} as Tags
            ) to '{path}' (format parquet)
            """
        )

    with in_memory() as connection:
        load_into(connection, path)
        row = connection.execute(
            "select billed_cost::varchar, effective_cost::varchar, charge_period_start_at::varchar, "
            "billing_period_end_at::varchar, tags, flags from billing.charges"
        ).fetchall()

    assert [
        ("0.123456789012", "0.000000100000", "2025-05-01 00:00:00", "2025-06-01 00:00:00", '{"team":"a\\"b"}', [])
    ] == row


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfea\x00,\x00", "is not UTF-8"),
        (b"a,b\n1,2\n", "shape of no bill that is known"),
    ],
)
def test_what_is_no_bill_is_refused_with_its_reason(tmp_path: Path, content: bytes, message: str) -> None:
    """The sentence names the file and what is wrong with it."""
    path = tmp_path / "bill.csv"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=rf"bill\.csv.*{message}"):
        source.inspect(path)


def test_a_file_that_only_claims_to_be_parquet_or_gzip_is_refused(tmp_path: Path) -> None:
    """A wrong ending gives one sentence, not a traceback."""
    for name, message in (("bill.parquet", "is no Parquet file"), ("bill.csv.gz", "is no gzip file")):
        path = write_bill(tmp_path / name, [usage(0)])
        with pytest.raises(UsageError, match=message):
            source.inspect(path)


@pytest.mark.parametrize("name", ["missing.csv", "missing/part-*.csv"])
def test_a_path_that_names_nothing_is_refused(tmp_path: Path, name: str) -> None:
    """Neither a file, a directory nor a pattern with a match."""
    with pytest.raises(UsageError, match="no such file, directory or pattern"):
        source.find(tmp_path / name)


def test_a_directory_without_bills_says_what_a_bill_is_called(tmp_path: Path) -> None:
    """The endings that are read are named."""
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")

    with pytest.raises(UsageError, match=r"must end in \.csv, \.csv\.gz, \.parquet"):
        source.find(tmp_path)


def test_a_pattern_finds_its_files(tmp_path: Path) -> None:
    """A star stands for the numbers of the parts."""
    for name in ("part-1.csv", "part-2.csv", "other.csv"):
        write_bill(tmp_path / name, [usage(0)])

    bills, _ = source.find(tmp_path / "part-*.csv")

    assert ["part-1.csv", "part-2.csv"] == [path.name for path in bills]


def test_a_file_that_is_no_table_at_all_is_refused_as_a_whole(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Beyond a number of misfits the file itself is wrong, and the first misfit is named."""
    bill = write_bill(tmp_path / "bill.csv", ["x"] * 5)

    with pytest.raises(UsageError, match=r"more than 3 rows do not fit.*row 1 \(line 2"):
        _stage(connection, bill, malformed_rows_max=3)


def test_a_damaged_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    """Damage behind a good footer shows when rows are read."""
    path = tmp_path / "bill.parquet"
    with duckdb.connect() as database:
        columns = ", ".join(f"repeat(md5(i::varchar), 9) as {name}" for name in MINIMAL_HEADER.split(","))
        database.execute(f"copy (select {columns} from range(2000) t(i)) to '{path}' (format parquet)")
    content = bytearray(path.read_bytes())
    content[100:4000] = bytes(3900)
    path.write_bytes(content)

    with pytest.raises(TokenmillError, match="cannot read"):
        run(tmp_path, path)


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=12)


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(FIELD, min_size=4, max_size=4), max_size=6))
def test_any_text_in_any_field_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    """Quotes, delimiters, line ends and other scripts in a field are data: the row keeps its fields."""
    names = ["BilledCost", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd"]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([names, *table])
    bill = tmp_path_factory.mktemp("bill") / "bill.csv"
    bill.write_text(text.getvalue(), encoding="utf-8", newline="")

    with in_memory() as connection:
        kept, malformed = _stage(connection, bill)

    assert [] == malformed
    words = source.WORDS_FOR_NULL
    assert [[None if text in words else text for text in row] for row in table] == [list(row[1:]) for row in kept]


def test_the_command_loads_a_directory(tmp_path: Path) -> None:
    """A path may be a directory; the report names it."""
    parts = tmp_path / "parts"
    parts.mkdir()
    write_bill(parts / "a.csv", [usage(0)])

    report = load.load_path(settings(tmp_path), BillingSettings(), parts, options=FLAGS, now=NOW)

    assert (parts, 1) == (report.path, report.rows_loaded)
