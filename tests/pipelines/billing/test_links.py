"""Linking bills to nodes: by the ids that a machine knows, never where two machines answer."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.pipelines.billing.bills import FLAGS, MINIMAL_HEADER, at, in_memory, load_into, usage, write_bill
from tokenmill_pipeline.billing import links
from tokenmill_pipeline.billing.load import LoadOptions

HEADER = f"{MINIMAL_HEADER},ResourceId"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return an empty warehouse in memory."""
    with in_memory() as opened:
        yield opened


def _node(
    connection: duckdb.DuckDBPyConnection,
    node: str,
    *,
    provider: str = "aws",
    instance_id: str = "(none)",
    provider_id: str = "(none)",
    seen: tuple[datetime, datetime] = (at(2025, 5, 1), at(2025, 6, 1)),
) -> None:
    connection.execute(
        "insert into fleet.node_intervals by name select $node as node, $first as valid_from_at, "
        "$first as first_seen_at, $last as last_seen_at, $provider as provider, 'acct' as account, 'r' as region, "
        "'z' as zone, 'c' as cluster, "
        "'(none)' as rack, '(none)' as instance_type, $instance_id as instance_id, $provider_id as provider_id, "
        "8 as gpu_count, '0' as agent_version, false as simulated, true as is_confirmed",
        {
            "node": node,
            "provider": provider,
            "instance_id": instance_id,
            "provider_id": provider_id,
            "first": seen[0],
            "last": seen[1],
        },
    )


def _bill(connection: duckdb.DuckDBPyConnection, tmp_path: Path, *resources: str, provider: str = "AWS") -> None:
    lines = [f"{usage(hour, provider=provider)},{resource}" for hour, resource in enumerate(resources)]
    load_into(connection, write_bill(tmp_path / "bill.csv", lines, header=HEADER), FLAGS)
    connection.execute("delete from ops.dirty_hours")


def _found(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select resource_id, node, share, method from billing.resource_links order by all"
    ).fetchall()


@pytest.mark.parametrize(
    ("resource", "node", "method"),
    [
        ("i-0abc", {"instance_id": "i-0abc"}, "instance_id"),
        ("I-0ABC", {"instance_id": "i-0abc"}, "instance_id"),
        ("arn:aws:ec2:us-east-1:123:instance/i-0abc", {"instance_id": "i-0abc"}, "instance_id_in_last_part"),
        ("i-0abc", {"provider_id": "aws:///us-east-1a/i-0abc"}, "provider_id"),
        (
            "/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm1",
            {
                "provider_id": "azure:///subscriptions/1/resourcegroups/g/providers/microsoft.compute/virtualmachines/vm1"
            },
            "provider_id",
        ),
        ("gpu-node-1", {}, "node"),
    ],
)
def test_a_resource_is_found_by_what_the_machine_knows(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, resource: str, node: dict[str, str], method: str
) -> None:
    """An id, the end of an ARN, a Kubernetes provider id or the name, in any case."""
    _node(
        connection,
        "gpu-node-1",
        instance_id=node.get("instance_id", "(none)"),
        provider_id=node.get("provider_id", "(none)"),
    )
    _bill(connection, tmp_path, resource)

    report = links.link_resources(connection)

    assert [(resource, "gpu-node-1", 1.0, method)] == _found(connection)
    assert (1, 1, 0) == (report.links, report.added, report.removed)


def test_a_machine_of_another_provider_is_another_machine(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Names repeat between clouds."""
    _node(connection, "gpu-node-1", provider="gcp")
    _bill(connection, tmp_path, "gpu-node-1")

    links.link_resources(connection)

    assert [] == _found(connection)


def test_a_new_link_marks_the_hours_of_its_charges_and_a_second_run_nothing(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """A bill that came before the node is restated when the node appears."""
    _bill(connection, tmp_path, "i-1", "i-2")
    links.link_resources(connection)
    _node(connection, "a", instance_id="i-2")

    first = links.link_resources(connection)
    marked = connection.execute("select hour_at, cause, source from ops.dirty_hours").fetchall()
    second = links.link_resources(connection)

    assert [(at(2025, 5, 1, 1), "billing", "link:aws/i-2")] == marked
    assert (1, 0) == (first.added, second.added)
    assert 1 == connection.execute("select count(*) from ops.dirty_hours").fetchall()[0][0]


def test_two_machines_that_answer_at_one_time_are_no_link(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Half a machine is nobody's: the resource is reported instead."""
    _node(connection, "a", instance_id="i-1")
    _node(connection, "b", instance_id="i-1")
    _bill(connection, tmp_path, "i-1")

    report = links.link_resources(connection)

    assert ([], (("aws", "i-1"),)) == (_found(connection), report.ambiguous)


def test_a_machine_that_was_renamed_holds_under_each_name_in_its_turn(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """The first name holds from the beginning, the second from when it was seen."""
    _node(connection, "old", instance_id="i-1", seen=(at(2025, 5, 1), at(2025, 5, 10)))
    _node(connection, "new", instance_id="i-1", seen=(at(2025, 5, 11), at(2025, 6, 1)))
    _bill(connection, tmp_path, "i-1")

    links.link_resources(connection)

    assert [("new", at(2025, 5, 11)), ("old", at(1970, 1, 1))] == connection.execute(
        "select node, valid_from_at from billing.resource_links order by all"
    ).fetchall()


def test_a_configured_link_wins_over_a_found_one(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """What a price file states is not second-guessed."""
    _node(connection, "a", instance_id="i-1")
    _bill(connection, tmp_path, "i-1")
    connection.execute("insert into billing.resource_links values ('aws', 'i-1', 'b', '2020-01-01', 1, 'configured')")

    links.link_resources(connection)

    assert [("i-1", "b", 1.0, "configured")] == _found(connection)


def test_a_link_goes_when_its_bill_is_replaced(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Links are those of current charges."""
    _node(connection, "a", instance_id="i-1")
    _bill(connection, tmp_path, "i-1")
    links.link_resources(connection)
    bill = write_bill(tmp_path / "new.csv", [f"{usage(0, provider='AWS')},i-2"], header=HEADER)
    load_into(connection, bill, LoadOptions(delivery="replace"))

    report = links.link_resources(connection)

    assert ([], 1) == (_found(connection), report.removed)


def test_unknown_ids_match_nothing(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """The words for unknown are no ids, also where a bill has them."""
    _node(connection, "a")
    _bill(connection, tmp_path, "(none)", "(unknown)")

    links.link_resources(connection)

    assert [] == _found(connection)
