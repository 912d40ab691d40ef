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
    """DuckDB's first sentence is enough."""
    with (
        duckdb.connect() as connection,
        pytest.raises(TokenmillError, match=r"^Catalog Error: Table with name nothing does not exist!$"),
    ):
        show(connection, "select * from nothing", Output("json"))
