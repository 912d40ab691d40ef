"""`tokenmill sql` on published tables."""

import io
import json
import sys

import pytest

import tokenmill_sql
from tests.pipelines.commands.conftest import HOURS, Terminal, Tokenmill
from tokenmill_pipeline.cli import main

COUNT = "select count(distinct hour_at) as hours from marts.hourly_cost_per_token"


def test_a_query_gives_rows(tokenmill: Tokenmill) -> None:
    """The published tables answer SQL."""
    assert [{"hours": HOURS}] == tokenmill("sql", COUNT)


def test_nothing_can_be_written(tokenmill: Tokenmill, data_dir: object, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is opened read-only, and DuckDB's own sentence says so."""
    del tokenmill
    code = main(["--data-dir", str(data_dir), "sql", "delete from hourly.revisions"])

    assert 1 == code
    assert "read-only" in capsys.readouterr().err


def test_csv_is_for_spreadsheets(data_dir: object, capsys: pytest.CaptureFixture[str]) -> None:
    """With --csv there is a header and nothing but values."""
    capsys.readouterr()
    main(["--data-dir", str(data_dir), "sql", "--csv", COUNT])

    assert f"hours\n{HOURS}\n" == capsys.readouterr().out


def test_statements_come_from_standard_input(
    data_dir: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a query every statement of the input is run."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 1 as one; select 2 as two;"))
    capsys.readouterr()
    main(["--data-dir", str(data_dir), "sql", "--csv"])

    assert "one\n1\ntwo\n2\n" == capsys.readouterr().out


def test_a_terminal_is_asked_until_it_ends(
    data_dir: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements may take several lines; one that is wrong does not end the session."""
    lines = iter(["select", "1 as one;", "", "selec 2;", "select 3 as three;"])
    monkeypatch.setattr(sys, "stdin", Terminal())

    def answer(_prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    capsys.readouterr()
    code = main(["--data-dir", str(data_dir), "sql", "--csv"])
    printed = capsys.readouterr()

    assert 0 == code
    assert "one\n1\nthree\n3\n\n" == printed.out
    assert "error: Parser Error" in printed.err


def test_the_graph_has_every_model_after_what_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """`--graph` prints the models of each stage in the order in which they run."""
    assert 0 == main(["--json", "sql", "--graph"])
    rows = json.loads(capsys.readouterr().out)
    places = {(row["stage"], row["relation"]): place for place, row in enumerate(rows)}
    late = [
        (row["relation"], read)
        for place, row in enumerate(rows)
        for read in row["reads"]
        if places.get((row["stage"], read), -1) > place
    ]

    assert [] == late


def test_the_graph_leaves_out_no_folder_of_models() -> None:
    """A new folder of SQL appears in the graph."""
    other = {"tables", "checks", "analyses"}
    folders = {path.parent.name for path in tokenmill_sql.ROOT.glob("*/*.sql")} - other

    assert folders == set(tokenmill_sql.STAGES)


def test_json_and_csv_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Two forms at once are wrong usage."""
    assert 2 == main(["sql", "--json", "--csv", "--graph"])
    assert "--json and --csv contradict each other" in capsys.readouterr().err
