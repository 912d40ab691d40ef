"""`tokenmill sql`: queries on the published tables, read-only, and the order of the models."""

import sys
from typing import TYPE_CHECKING

import tokenmill_sql
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.commands.base import Call, Commands, add_command
from tokenmill_pipeline.commands.published import published, show
from tokenmill_pipeline.tables import Output

if TYPE_CHECKING:
    import duckdb

DESCRIPTION = """\
Runs SQL (DuckDB's) on the published analytics.duckdb, read-only: nobody waits for it and it waits for nobody.
Units stand last in the column names; `select column_name, comment from duckdb_columns()` says more of each.
Without QUERY it reads statements from standard input; at a terminal it asks for them, each closed by a semicolon.
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "sql", run, "query the published tables", DESCRIPTION)
    parser.add_argument("query", nargs="?", metavar="QUERY", help="one or more statements")
    parser.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    parser.add_argument("--graph", action="store_true", help="print the models in the order in which they run")


def run(call: Call) -> int:
    """Print the graph, or the results of every statement."""
    if call.arguments.csv and call.output.form == "json":
        raise UsageError("--json and --csv contradict each other: choose one")
    output = Output("csv") if call.arguments.csv else call.output
    if call.arguments.graph:
        print_graph(output)
        return 0
    with published(call) as connection:
        if call.arguments.query is not None:
            show(connection, call.arguments.query, output)
        elif sys.stdin.isatty():
            _ask(connection, output)
        else:
            show(connection, sys.stdin.read(), output)
    return 0


def print_graph(output: Output) -> None:
    """Print every model with its stage, what it reads and its grain, in the order in which they run."""
    names = {model.relation for stage in tokenmill_sql.STAGES for model in tokenmill_sql.models(stage)}
    names |= {model.relation for model in tokenmill_sql.tables()}
    rows = [
        [stage, model.relation, model.kind, sorted(model.references(names)), model.grain]
        for stage in tokenmill_sql.STAGES
        for model in tokenmill_sql.models(stage)
    ]
    output.rows(["stage", "relation", "kind", "reads", "grain"], rows)


def _ask(connection: "duckdb.DuckDBPyConnection", output: Output) -> None:
    buffer = ""
    while True:
        try:
            buffer += input("      ...> " if buffer else "tokenmill> ") + "\n"
        except EOFError:
            print()
            return
        if not buffer.strip():
            buffer = ""
        elif buffer.rstrip().endswith(";"):
            try:
                show(connection, buffer, output)
            except TokenmillError as error:
                print(f"error: {error}", file=sys.stderr)
            buffer = ""
