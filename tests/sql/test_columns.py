"""The dictionary of columns: what every table and view says of itself is what the dictionary says."""

import re

import pytest

import tokenmill_sql
from tests.priced import Priced
from tokenmill_pipeline import quality

UNIT_BY_SUFFIX = {
    "_us": ("us", "GPU-us"),
    "_seconds": ("s",),
    "_seconds_sum": ("s",),
    "_joules": ("J",),
    "_millijoules": ("mJ",),
    "_watts": ("W",),
    "_milliwatts": ("mW",),
    "_bytes": ("bytes",),
    "_tokens": ("tokens", "currency per million tokens"),
    "_cost": ("currency",),
    "_share": ("1",),
    "_coverage": ("1",),
    "_per_gpu_hour": ("currency per GPU-h",),
    "_flop_per_second": ("FLOP/s",),
}


@pytest.fixture(scope="module")
def priced() -> Priced:
    """Return a warehouse with every table, and the views that a build makes."""
    found = Priced()
    found.price()
    return found


def columns(priced: Priced) -> list[tuple[str, str]]:
    """Return every relation and column that users meet."""
    return priced.rows(
        "select schema_name || '.' || table_name, column_name from duckdb_columns() "
        "where database_name = current_database() and schema_name in (select unnest($1)) order by all",
        [list(quality.DOCUMENTED_SCHEMAS)],
    )


def test_every_column_is_as_the_dictionary_says(priced: Priced) -> None:
    """No table, mart or view has a column of another type, or one that nobody described."""
    relations = sorted({relation for relation, _ in columns(priced)})

    assert [] == quality.contract_problems(priced.connection, relations)


def test_the_dictionary_describes_nothing_that_is_not_there(priced: Priced) -> None:
    """An entry without a column is a leftover."""
    known = {column for _, column in columns(priced)}

    assert [] == [name for name in tokenmill_sql.columns() if name.rpartition(".")[2] not in known]


def name_problem(entry: tokenmill_sql.Column) -> str | None:
    """Return what is wrong with a name, its type and its unit: the longest known suffix says the unit."""
    suffixes = [suffix for suffix in UNIT_BY_SUFFIX if entry.name.endswith(suffix)]
    if re.search(r"_(mw|mj|mwh)(_|$)", entry.name):
        return f"{entry.name} can be read as milli or mega"
    if suffixes and entry.unit not in UNIT_BY_SUFFIX[max(suffixes, key=len)]:
        return f"{entry.name} has the unit {entry.unit!r}"
    if entry.name.endswith("_at") and entry.name != "counts_at" and entry.type != "TIMESTAMP":
        return f"{entry.name} is {entry.type}"
    return None


def test_a_name_ends_in_its_unit() -> None:
    """The suffix of a name says its unit, and no name can be read as milli or mega."""
    problems = [name_problem(entry) for entry in tokenmill_sql.columns().values()]

    assert [] == [problem for problem in problems if problem]


def test_a_description_is_a_sentence() -> None:
    """Each meaning is said in plain words, ends in a full stop and tells more than a word or two."""
    entries = tokenmill_sql.columns().values()

    assert [] == [entry.name for entry in entries if not re.fullmatch(r"\S+( \S+){2,}\.", entry.description)]
