"""Rows are printed so that a person can read them and a machine can parse them."""

import csv
import dataclasses
import io
import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokenmill_pipeline.tables import Form, Output, readable

NAMES = ["model", "cost_per_million_tokens", "tokens"]
ROWS: list[list[object]] = [["qwen3", 0.41234567, 1_234_567], ["llama", None, 0]]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def printed(form: Form, names: list[str], rows: list[list[object]]) -> str:
    """Return what is printed in a form."""
    stream = io.StringIO()
    Output(form, stream).rows(names, rows)
    return stream.getvalue()


def test_json_is_a_list_of_objects() -> None:
    """A machine gets full precision and null where a value is missing."""
    assert [dict(zip(NAMES, row, strict=True)) for row in ROWS] == json.loads(printed("json", NAMES, ROWS))


def test_csv_leaves_the_missing_empty() -> None:
    """CSV has a header, full precision, and nothing where a value is missing."""
    rows = list(csv.reader(io.StringIO(printed("csv", NAMES, ROWS))))

    assert [NAMES, ["qwen3", "0.41234567", "1234567"], ["llama", "", "0"]] == rows


def test_a_person_sees_a_dash_where_a_value_is_missing() -> None:
    """A missing value is not a zero, and a zero is not a missing value."""
    lines = printed("table", NAMES, ROWS).strip().splitlines()

    assert ["llama", "-", "0"] == lines[-1].split()


def test_a_wide_table_becomes_records_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit beside each other is printed below each other and never cut."""
    monkeypatch.setenv("COLUMNS", "60")
    names, stream = [f"column_{number:02}" for number in range(20)], Terminal()
    Output("table", stream).rows(names, [list(range(20))])

    assert "column_19  19" in stream.getvalue()


def test_a_report_is_read_by_its_fields() -> None:
    """A dataclass becomes one object for a machine."""

    @dataclasses.dataclass
    class Report:
        rows: int
        at: datetime

    stream = io.StringIO()
    Output("json", stream).report(Report(rows=3, at=datetime(2026, 11, 1, tzinfo=UTC)))

    assert {"rows": 3, "at": "2026-11-01T00:00:00+00:00"} == json.loads(stream.getvalue())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (1234567.8, "1,234,568"),
        (98.32, "98.32"),
        (Decimal("0.041239999"), "0.0412"),
        (0.00001234, "1.23e-05"),
        (True, "yes"),
        (["no_bill", "series_absent"], "no_bill, series_absent"),
        ([], "-"),
        (datetime(2026, 11, 1, 13), "2026-11-01 13:00"),  # noqa: DTZ001 - the warehouse keeps UTC without a zone
    ],
)
def test_values_are_readable(value: object, text: str) -> None:
    """Digits are grouped, fractions short, lists plain."""
    assert text == readable(value)


def test_names_cannot_steer_the_terminal() -> None:
    """An escape sequence in a name that came through Kafka is shown, not obeyed."""
    assert "node\\x1b[2J" == readable("node\x1b[2J")


def test_text_that_names_an_emoji_stays_text() -> None:
    """What stands between colons is data."""
    assert "node:x:1" in printed("table", ["name"], [["node:x:1"]])


@pytest.mark.parametrize("value", [math.nan, math.inf, Decimal("NaN"), [-math.inf]])
def test_what_is_no_number_is_null_in_json(value: object) -> None:
    """JSON has neither NaN nor Infinity, and a parser that follows its standard refuses them."""
    found = json.loads(printed("json", ["figure"], [[value]]))[0]["figure"]

    assert ([None] if isinstance(value, list) else None) == found
