"""Storing prices: what is there stays, what is new or other restates the hours in which it holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.pipelines.billing.bills import NOW, at, in_memory, load_into, usage, write_bill
from tokenmill_agent.errors import UsageError
from tokenmill_pipeline.billing import prices

WHEN = NOW.replace(tzinfo=None)
CARD = (
    '[[rate_card]]\nprovider = "Nebius AI Cloud"\ngpu_sku = "H200"\ncurrency = "usd"\nper_gpu_hour = {rate}\n'
    'valid_from = {day}\nsource = "contract"\n{more}\n'
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return an empty warehouse in which three hours of 2026 were built."""
    with in_memory() as opened:
        opened.executemany(
            "insert into hourly.revisions values ($1, 1, 'open', $1, null, 'telemetry', false, '', '', '', '')",
            [[at(2026, month, 1)] for month in (1, 2, 3)],
        )
        yield opened


def _store(connection: duckdb.DuckDBPyConnection, tmp_path: Path, text: str) -> prices.Outcome:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return prices.store(connection, path, prices.read(path), {}, now=WHEN)


def _marked(connection: duckdb.DuckDBPyConnection) -> list[int]:
    rows = connection.execute("select month(hour_at) from ops.dirty_hours order by all").fetchall()
    return [row[0] for row in rows]


def _card(rate: float, day: str = "2026-02-01", more: str = "") -> str:
    return CARD.format(rate=rate, day=day, more=more)


def test_a_rate_card_says_what_it_is_for_and_in_which_unit(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """The provider has the name that its nodes have; what is not named matches anything."""
    outcome = _store(connection, tmp_path, _card(2.3))

    assert ({"reference.prices": 1}, 2) == (outcome.changed, outcome.hours_marked)
    assert [
        ("rate_card", "nebius/*/*/*/H200", "nebius", None, "H200", "USD", 2.3, "USD/GPU-hour")
    ] == connection.execute(
        "select kind, scope, provider, account, gpu_sku, currency, amount, unit from reference.prices"
    ).fetchall()


def test_the_same_entries_again_change_nothing(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Neither rows nor marks, and the report says so."""
    _store(connection, tmp_path, _card(2.3))
    connection.execute("delete from ops.dirty_hours")

    outcome = _store(connection, tmp_path, _card(2.3))

    assert ({}, 0, []) == (outcome.changed, outcome.hours_marked, _marked(connection))
    assert "nothing to do" in outcome.notes[0]


def test_a_changed_rate_marks_its_hours_until_the_next_rate(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """February's rate says nothing about March."""
    _store(connection, tmp_path, _card(2.3) + _card(2.5, "2026-03-01"))
    connection.execute("delete from ops.dirty_hours")

    _store(connection, tmp_path, _card(2.4))

    assert [2] == _marked(connection)
    amounts = connection.execute("select amount from reference.prices order by valid_from_at").fetchall()
    assert [(2.4,), (2.5,)] == amounts


def test_a_withdrawn_entry_is_removed_and_its_hours_are_restated(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """A rate with a wrong date can be taken back."""
    _store(connection, tmp_path, _card(2.3))
    connection.execute("delete from ops.dirty_hours")

    outcome = _store(connection, tmp_path, _card(2.3, more="withdrawn = true"))

    assert {"reference.prices": 1} == outcome.changed
    assert [2, 3] == _marked(connection)
    assert [(0,)] == connection.execute("select count(*) from reference.prices").fetchall()


def test_exchange_rates_keep_a_virtual_currency_s_spelling(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """A contract may fix what a provider's credit is worth."""
    _store(
        connection,
        tmp_path,
        '[[exchange_rate]]\nfrom = "Token"\nto = "usd"\nrate = 2\nvalid_from = 2026-01-01\nsource = "contract"\n',
    )

    assert [("Token/USD", "Token", "USD", 2.0, "USD/Token")] == connection.execute(
        "select scope, currency, to_currency, amount, unit from reference.prices"
    ).fetchall()


def test_facts_of_the_user_stand_in_the_fleet_s_tables(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Products, machine types and names of models."""
    outcome = _store(
        connection,
        tmp_path,
        """
        [[gpu_sku]]
        gpu_sku = "X1"
        name_pattern = '\\bX1\\b'
        gpu_generation = "X"
        generation_order = 203001
        pci_device_ids = ["abcd"]
        valid_from = 2026-01-01
        source = "maker"
        [[instance_type]]
        provider = "AWS"
        instance_type = "x1.large"
        gpu_sku = "X1"
        gpu_count = 4
        valid_from = 2026-01-01
        source = "page"
        [[model_alias]]
        model_served = "llama"
        model = "meta-llama/Llama-3.3-70B-Instruct"
        valid_from = 2026-01-01
        """,
    )

    assert {"fleet.gpu_skus": 1, "fleet.instance_types": 1, "fleet.model_aliases": 1} == outcome.changed
    assert [("aws", "X1", 4)] == connection.execute(
        "select provider, gpu_sku, gpu_count from fleet.instance_types"
    ).fetchall()
    assert [(["abcd"], None)] == connection.execute(
        "select pci_device_ids, provisioned_watts from fleet.gpu_skus"
    ).fetchall()
    assert [("*", "*", "llama")] == connection.execute(
        "select cluster, deployment_pattern, model_served from fleet.model_aliases"
    ).fetchall()


def test_a_pattern_that_only_python_reads_is_refused(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """The database compares the names, so it must read the pattern."""
    with pytest.raises(UsageError, match=r"gpu_sku\[0\] name_pattern .* cannot be read"):
        _store(
            connection,
            tmp_path,
            "[[gpu_sku]]\ngpu_sku = 'x'\nname_pattern = 'H100(?!.*PCIe)'\ngpu_generation = 'X'\n"
            "generation_order = 1\nvalid_from = 2026-01-01\nsource = 'x'\n",
        )


def _link(node: str, share: float = 1.0) -> str:
    return (
        f'[[resource_link]]\nprovider = "Example"\nresource_id = "cr-1"\nnode = "{node}"\nshare = {share}\n'
        "valid_from = 2025-01-01\n"
    )


def _links(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select resource_id, node, share, method from billing.resource_links order by all"
    ).fetchall()


def test_links_of_a_resource_are_one_set_that_is_replaced_whole(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """The parts of a shared rack always sum to 1, and its charges are restated when they move."""
    line = usage(0).replace("Example", "Example,cr-1")
    load_into(
        connection,
        write_bill(
            tmp_path / "b.csv",
            [line],
            header="BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,"
            "ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ProviderName,CapacityReservationId",
        ),
    )
    _store(connection, tmp_path, _link("a", 0.5) + _link("b", 0.5))
    connection.execute("delete from ops.dirty_hours")

    outcome = _store(connection, tmp_path, _link("c"))

    assert [("cr-1", "c", 1.0, "configured")] == _links(connection)
    assert ({"billing.resource_links": 1}, 1) == (outcome.changed, outcome.hours_marked)
