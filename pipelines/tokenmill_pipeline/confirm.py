"""Confirms nodes: from then on their hours enter the marts where `[fleet] require_confirmation` is set."""

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import nearest
from tokenmill_pipeline import dirty
from tokenmill_pipeline.warehouse import transaction

HOURS_OF = """
    select distinct unnest(generate_series(
        date_trunc('hour', first_seen_at), date_trunc('hour', last_seen_at), interval 1 hour
    )) as hour_at
    from fleet.node_intervals
    where node in (select unnest($nodes))
"""


def confirm(connection: duckdb.DuckDBPyConnection, nodes: Sequence[str], *, now: datetime) -> int:
    """Confirm the nodes, all or none, mark their hours to be attributed anew and return how many hours that are.

    Raises:
        UsageError: no such node was ever seen.
    """
    known = [str(row[0]) for row in connection.execute("select distinct node from fleet.node_intervals").fetchall()]
    for node in nodes:
        if node not in known:
            raise UsageError(f"no node {node!r} was ever seen{nearest(node, known)}; see `tokenmill fleet nodes`")
    named = {"nodes": list(nodes)}
    hours = [row[0] for row in connection.execute(HOURS_OF, named).fetchall()]
    with transaction(connection):
        connection.execute(
            "update fleet.node_intervals set is_confirmed = true where node in (select unnest($nodes))", named
        )
        for node in nodes:
            dirty.mark(connection, hours, "edges", f"confirmed {node}", now.astimezone(UTC).replace(tzinfo=None))
    return len(hours)
