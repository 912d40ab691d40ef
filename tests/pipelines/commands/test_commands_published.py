"""The published file as commands open it."""

import argparse
from pathlib import Path

import duckdb
import pytest

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.commands.base import Call
from tokenmill_pipeline.commands.published import published, show
from tokenmill_pipeline.tables import Output


def call(data_dir: Path) -> Call:
    """Return a call on a data directory."""
    return Call(arguments=argparse.Namespace(data_dir=data_dir), output=Output("json"))


def test_before_the_first_publication_the_remedy_is_named(tmp_path: Path) -> None:
    """A missing file is no database error."""
    with pytest.raises(UsageError, match="`tokenmill build` publishes it"), published(call(tmp_path)):
        pass


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    """Damage is said with the file's name."""
    (tmp_path / "analytics.duckdb").write_text("no database" * 1000, encoding="utf-8")
    with pytest.raises(TokenmillError, match=r"cannot open .*analytics\.duckdb"), published(call(tmp_path)):
        pass


def test_an_error_of_the_query_is_one_line() -> None:
    """DuckDB's own sentence is enough, without the place in the query."""
    with (
        duckdb.connect() as connection,
        pytest.raises(TokenmillError, match=r"^Catalog Error: Table with name nothing does not exist!"),
    ):
        show(connection, "select * from nothing", Output("json"))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("select b from marts.hours", r'not found in FROM clause! Candidate bindings: "hour_at"$'),
        ("select * from hours", r'does not exist! Did you mean "marts\.hours"\?$'),
    ],
)
def test_the_names_that_duckdb_proposes_are_kept(query: str, sentence: str) -> None:
    """A typing error is mended without looking into the schema."""
    with duckdb.connect() as connection:
        connection.execute("create schema marts; create table marts.hours (hour_at timestamp)")
        with pytest.raises(TokenmillError, match=sentence):
            show(connection, query, Output("json"))
