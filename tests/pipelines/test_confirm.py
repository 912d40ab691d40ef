"""Confirming a node lets its hours in and has them built anew."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import PipelineSettings
from tokenmill_pipeline.confirm import confirm

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
NODE = """
    insert into fleet.node_intervals
    select $node, timestamp '2026-11-01 10:20', timestamp '2026-11-01 10:20', timestamp '2026-11-01 12:05',
        'p', 'a', 'r', 'z', 'c', 'k', 't', 'i', 'd', 8, '0', true, false
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a warehouse that has seen two nodes, neither confirmed."""
    with warehouse.open_warehouse(PipelineSettings(data_dir=tmp_path)) as opened:
        for node in ("n1", "n2"):
            opened.execute(NODE, {"node": node})
        yield opened


def test_only_the_named_node_is_confirmed(connection: duckdb.DuckDBPyConnection) -> None:
    """A confirmation is of one node."""
    confirm(connection, ["n1"], now=NOW)

    found = connection.execute("select node, is_confirmed from fleet.node_intervals order by node").fetchall()
    assert [("n1", True), ("n2", False)] == found


def test_every_hour_in_which_the_node_was_seen_is_marked(connection: duckdb.DuckDBPyConnection) -> None:
    """The next build attributes the hours of the node anew, from its first to its last."""
    count = confirm(connection, ["n1"], now=NOW)

    hours = connection.execute("select hour(hour_at) from ops.dirty_hours order by hour_at").fetchall()
    assert [(10,), (11,), (12,)] == hours
    assert 3 == count


def test_a_node_that_was_never_seen_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    """A typing error names the nearest node, and nothing of the list is confirmed."""
    with pytest.raises(UsageError, match="no node 'n9' was ever seen, did you mean \"n"):
        confirm(connection, ["n1", "n9"], now=NOW)

    assert [(0,)] == connection.execute("select count(*) from fleet.node_intervals where is_confirmed").fetchall()
