"""Opens the published file for one command: read-only, so that nobody waits for it."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.commands.base import Call
from tokenmill_pipeline.tables import Output

if TYPE_CHECKING:
    import duckdb


@contextlib.contextmanager
def published(call: Call) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Yield a read-only connection to analytics.duckdb.

    Raises:
        UsageError: nothing was published yet.
    """
    from tokenmill_pipeline import warehouse

    settings = call.context.pipeline
    if not settings.published_path.exists():
        raise UsageError(
            f"{settings.published_path} does not exist: `tokenmill build` publishes it; --data-dir names another place"
        )
    connection = warehouse.connect(settings.published_path, settings, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


def show(connection: "duckdb.DuckDBPyConnection", text: str, output: Output, title: str = "") -> None:
    """Run every statement of `text` and print what it gives.

    Raises:
        TokenmillError: with DuckDB's own sentence, and the names that it proposes.
    """
    import duckdb

    try:
        for statement in connection.extract_statements(text):
            found = connection.execute(statement)
            output.rows([column[0] for column in found.description or []], found.fetchall(), title=title)
    except duckdb.Error as error:
        raise TokenmillError(_sentence(str(error))) from error


def _sentence(text: str) -> str:
    first, *rest = text.strip().splitlines()
    return " ".join([first, *(line.strip() for line in rest if line.startswith(("Candidate", "Did you mean")))])
