"""The reference data that ships: every GPU name has one product, every figure a source, and the user's rows win."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pytest

from tests.pipelines.billing.bills import NOW, at, in_memory
from tokenmill_pipeline import reference_data
from tokenmill_pipeline.config import FleetSettings, Override

WHEN = NOW.replace(tzinfo=None)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a warehouse in memory with the reference data in it."""
    with in_memory() as opened:
        reference_data.load_reference(opened, FleetSettings(), {}, NOW)
        yield opened


def _products(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select distinct gpu_sku, gpu_generation from fleet.gpu_skus where regexp_matches($name, name_pattern, 'i')",
        {"name": name},
    ).fetchall()


@pytest.mark.parametrize(
    ("name", "sku", "generation"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100", "Ampere"),
        ("NVIDIA A100 80GB PCIe", "A100", "Ampere"),
        ("NVIDIA L40S", "L40S", "Ada"),
        ("NVIDIA L4", "L4", "Ada"),
        ("NVIDIA L40", "L40", "Ada"),
        ("NVIDIA L20", "L20", "Ada"),
        ("NVIDIA H100 80GB HBM3", "H100", "Hopper"),
        ("NVIDIA H100", "H100", "Hopper"),
        ("NVIDIA H100 NVL", "H100 NVL", "Hopper"),
        ("NVIDIA H100 PCIe", "H100 PCIe", "Hopper"),
        ("NVIDIA H800", "H800", "Hopper"),
        ("NVIDIA H200", "H200", "Hopper"),
        ("NVIDIA H200 NVL", "H200 NVL", "Hopper"),
        ("NVIDIA H20", "H20", "Hopper"),
        ("NVIDIA GH200 480GB", "GH200", "Hopper"),
        ("NVIDIA B200", "B200", "Blackwell"),
        ("NVIDIA GB200", "GB200", "Blackwell"),
        ("NVIDIA B300 SXM6 AC", "B300", "Blackwell Ultra"),
        ("NVIDIA GB300", "GB300", "Blackwell Ultra"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000", "Blackwell"),
        ("NVIDIA GB10", "GB10", "Blackwell"),
        ("NVIDIA VR200", "VR200", "Rubin"),
        ("AMD Instinct MI300X", "MI300X", "CDNA3"),
        ("AMD Instinct MI325X OAM", "MI325X", "CDNA3"),
        ("AMD Instinct MI355X", "MI355X", "CDNA4"),
    ],
)
def test_every_name_that_a_driver_reports_is_one_product(
    connection: duckdb.DuckDBPyConnection, name: str, sku: str, generation: str
) -> None:
    """No name is two products: B200 is not GB200, H20 is not H200, a card is not a module."""
    assert [(sku, generation)] == _products(connection, name)


@pytest.mark.parametrize("name", ["NVIDIA Graphics Device", "NVIDIA GeForce RTX 4090", "Tesla V100-SXM2-32GB", ""])
def test_a_name_that_is_not_listed_stays_unknown(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """A new board before its driver knows it is nobody's generation."""
    assert [] == _products(connection, name)


def test_every_figure_names_its_source(connection: duckdb.DuckDBPyConnection) -> None:
    """Peak and planned figures without a source would be hearsay."""
    lacking = connection.execute(
        """
        select gpu_sku from fleet.gpu_skus
        where (coalesce(fp4_dense_flop_per_second, fp8_dense_flop_per_second, bf16_dense_flop_per_second) is not null)
            <> (flop_source is not null)
            or (provisioned_watts is not null) <> (provisioned_source is not null)
            or source not like 'shipped: %'
        """
    ).fetchall()

    assert [] == lacking


@pytest.mark.parametrize(
    ("sku", "april_watts", "september_watts"),
    [
        ("H100", 1730, 1370),
        ("H200", 1730, 1370),
        ("B200", 2170, 1710),
        ("B300", 2170, 1900),
        ("GB200", 2100, 1870),
        ("GB300", 2100, 2120),
        ("MI300X", 1790, 1390),
        ("MI325X", 2180, 1690),
        ("MI355X", 2650, 2090),
        ("VR200", None, 3300),
        ("RTX PRO 6000", None, 975),
        ("L4", None, None),
    ],
)
def test_planned_power_is_versioned(
    connection: duckdb.DuckDBPyConnection, sku: str, april_watts: float | None, september_watts: float | None
) -> None:
    """The September constants hold from September 2026; before them those of April do, or none are known."""
    found = [
        connection.execute(
            "select arg_max({'watts': provisioned_watts}, valid_from_at).watts from fleet.gpu_skus "
            "where gpu_sku = $sku and valid_from_at <= $at",
            {"sku": sku, "at": moment},
        ).fetchall()[0][0]
        for moment in (at(2026, 8, 31), at(2026, 9, 1))
    ]

    assert [april_watts, september_watts] == found


def test_generations_are_ordered_by_release(connection: duckdb.DuckDBPyConnection) -> None:
    """What a deployment on two generations is joined by; one generation has one place."""
    rows = connection.execute(
        "select gpu_generation, any_value(generation_order), count(distinct generation_order) from fleet.gpu_skus "
        "group by all order by 2"
    ).fetchall()

    names = ["Ampere", "Hopper", "Ada", "CDNA3", "Blackwell", "Blackwell Ultra", "CDNA4", "Rubin"]
    assert names == [row[0] for row in rows]
    assert {1} == {row[2] for row in rows}


def test_peaks_are_dense_figures_at_a_named_precision(connection: duckdb.DuckDBPyConnection) -> None:
    """Two of them as their maker states them without sparsity; Hopper has no FP4."""
    rows = connection.execute(
        "select distinct gpu_sku, fp4_dense_flop_per_second, fp8_dense_flop_per_second, bf16_dense_flop_per_second "
        "from fleet.gpu_skus where gpu_sku in ('H200', 'GB300') order by all"
    ).fetchall()

    assert [("GB300", 14.7e15, 4.9e15, 2.45e15), ("H200", None, 1.979e15, 0.989e15)] == rows


def test_every_instance_type_holds_a_known_product(connection: duckdb.DuckDBPyConnection) -> None:
    """And the provider has the name that bills and nodes carry."""
    unknown = connection.execute(
        "select * from fleet.instance_types anti join fleet.gpu_skus using (gpu_sku)"
    ).fetchall()
    providers = {row[0] for row in connection.execute("select distinct provider from fleet.instance_types").fetchall()}

    assert [] == unknown
    assert providers == {reference_data.canonical_provider(provider.upper()) for provider in providers}


def test_loading_again_changes_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    """A build may do it every time."""
    assert {} == reference_data.load_reference(connection, FleetSettings(), {}, NOW)


def test_the_user_s_row_wins_over_the_shipped_one_of_its_key(connection: duckdb.DuckDBPyConnection) -> None:
    """Also after the next start."""
    key = {"provider": "aws", "instance_type": "p5.48xlarge", "valid_from_at": at(2020, 1, 1)}
    reference_data.put(
        connection, reference_data.INSTANCE_TYPES, [{**key, "gpu_sku": "H100", "gpu_count": 4, "source": "own"}], WHEN
    )

    reference_data.load_reference(connection, FleetSettings(), {}, NOW)

    assert [(4, "own")] == connection.execute(
        "select gpu_count, source from fleet.instance_types where instance_type = 'p5.48xlarge'"
    ).fetchall()


def test_a_shipped_row_that_changed_or_went_follows_the_product(connection: duckdb.DuckDBPyConnection) -> None:
    """An upgrade corrects what it shipped, and restates the hours in which it held."""
    connection.execute("update fleet.gpu_skus set provisioned_watts = 1 where gpu_sku = 'H100'")
    connection.execute(
        "insert into fleet.instance_types values ('aws', 'gone', '2020-01-01', 'H100', 8, 'shipped: an old page')"
    )
    connection.execute(
        "insert into hourly.revisions values ('2026-10-01', 1, 'open', '2026-10-01', null, 'x', false, '', '', '', '')"
    )

    changed = reference_data.load_reference(connection, FleetSettings(), {}, NOW)

    assert {"fleet.gpu_skus": 2, "fleet.instance_types": 1} == changed
    sources = {row[0] for row in connection.execute("select source from ops.dirty_hours").fetchall()}
    assert {"fleet.gpu_skus:H100", "fleet.instance_types:aws/gone"} == sources


def test_overrides_are_those_of_the_configuration(connection: duckdb.DuckDBPyConnection) -> None:
    """Those that left the file leave the table."""
    first = FleetSettings(overrides=(Override(node="a", field="provider", value="aws"),))
    second = FleetSettings(overrides=(Override(node="b", field="account", value="1"),))

    changed = [reference_data.load_reference(connection, fleet, {}, NOW) for fleet in (first, second, second)]

    assert [{"fleet.overrides": 1}, {"fleet.overrides": 2}, {}] == changed
    assert [("b", "account", "1")] == connection.execute("from fleet.overrides").fetchall()


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("AWS", "aws"),
        ("Amazon Web Services, Inc.", "aws"),
        ("microsoft", "azure"),
        (" Google Cloud ", "gcp"),
        ("CoreWeave", "coreweave"),
        ("Aura Web", "Aura Web"),
    ],
)
def test_a_provider_has_one_name(name: str, provider: str) -> None:
    """However a bill writes it; one that is not listed keeps its own."""
    assert provider == reference_data.canonical_provider(name)


def test_configured_names_win(connection: duckdb.DuckDBPyConnection) -> None:
    """And stand in the table that the fleet's names are looked up in."""
    configured = {"Aura Web": "aura", "AWS": "amazon"}

    reference_data.load_reference(connection, FleetSettings(), configured, NOW)

    assert ["aura", "amazon"] == [reference_data.canonical_provider(name, configured) for name in configured]
    assert [("amazon",)] == connection.execute(
        "select provider from fleet.provider_names where name_folded = 'aws'"
    ).fetchall()


def test_dates_and_times_become_utc() -> None:
    """A date is its midnight; a time with a zone is moved to UTC."""
    moved = datetime.fromisoformat("2026-01-01T02:00:00+02:00")

    assert [at(2026, 1, 1)] * 3 == [
        reference_data.utc(moment) for moment in (date(2026, 1, 1), moved, datetime(2026, 1, 1, tzinfo=UTC))
    ]
