"""Finds the node that a billed resource is: by instance id, provider id or name, as `billing.resource_links` shows."""

import dataclasses
from datetime import UTC, datetime

import duckdb

import tokenmill_sql
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.billing import marking
from tokenmill_pipeline.billing.prices import CONFIGURED
from tokenmill_pipeline.reference_data import utc


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """How many links stand, how many are new or gone, and the resources that several nodes answer to at one time."""

    links: int
    added: int
    removed: int
    ambiguous: tuple[tuple[str, str], ...] = ()


def link_resources(connection: duckdb.DuckDBPyConnection, now: datetime | None = None) -> LinkReport:
    """Bring the found links up to date and mark the charge hours of the resources whose links changed.

    A resource of a current charge is linked to the node of the same provider whose instance id, provider id or name
    it is, or ends in. Links that a price file states win: for such a resource none is looked for. One that two nodes
    answer to at the same time is left alone, because half of a machine is nobody's.
    """
    moment = utc(now or datetime.now(UTC))
    for model in tokenmill_sql.models("links"):
        warehouse.run_model(connection, model)
    changes = connection.execute(
        f"""
        with stored as (select * from billing.resource_links where method <> '{CONFIGURED}')

        select coalesce(w.provider, s.provider) as provider, coalesce(w.resource_id, s.resource_id) as resource_id,
            s.node is null as is_added
        from work_links as w
        full join stored as s using (provider, resource_id, node, valid_from_at, share, method)
        where w.node is null or s.node is null
        """
    ).fetchall()
    if changes:
        connection.execute(
            f"""
            delete from billing.resource_links as l
            where l.method <> '{CONFIGURED}' and not exists (
                select 1 from work_links as w
                where w.provider = l.provider and w.resource_id = l.resource_id and w.node = l.node
                    and w.valid_from_at = l.valid_from_at and w.method = l.method
            )
            """
        )
        connection.execute("insert or ignore into billing.resource_links by name select * from work_links")
        marking.mark_resources(connection, sorted({(row[0], row[1]) for row in changes}), moment)
    added = sum(1 for row in changes if row[2])
    return LinkReport(
        links=connection.execute("select count(*) from billing.resource_links").fetchall()[0][0],
        added=added,
        removed=len(changes) - added,
        ambiguous=tuple(
            connection.execute("select provider, resource_id from work_ambiguous_links order by all").fetchall()
        ),
    )
