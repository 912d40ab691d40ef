"""Energy of the node and the facility: found from host readings, shared by GPU time, withheld where it is half."""

import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted import SECOND_US, START, ScriptedNode, ScriptedWarehouse, at, rows, server
from tokenmill_pipeline import warehouse as store
from tokenmill_pipeline.config import BuildSettings
from tokenmill_pipeline.price import price_hours

HOUR: Final = 3600
GPU_WATTS: Final = 700
STEP: Final = 30
TIMES: Final = range(-300, HOUR + 301, STEP)

USE: Final = """
    select
        node,
        case when bucket = 'serving' then deployment else bucket end as holder,
        gpu_energy_millijoules / 1e6 as gpu_kilojoules,
        node_energy_millijoules / 1e6 as node_kilojoules,
        matched_node_energy_millijoules / 1e6 as matched_kilojoules,
        node_energy_method as method,
        reasons
    from hourly.unit_use where hour_at = timestamp '2026-03-01 10:00' order by all
"""


def gpus(node: ScriptedNode, serving: int, times: range = TIMES, **columns: Any) -> None:
    """Let every GPU of a node draw 700 W, the first ones for the deployment d1."""
    for seconds in times:
        energy = GPU_WATTS * 1000 * (seconds + 1000)
        node.gpu_rows(
            [
                {"gpu": gpu, "at_us": at(seconds), "energy_counter_millijoules": energy, **columns}
                for gpu in range(node.gpu_count)
            ],
            placements=[
                node.placement(gpu, at(seconds), "d1" if gpu < serving else None) for gpu in range(node.gpu_count)
            ],
        )


def serve(node: ScriptedNode, gpu_count: int) -> None:
    """Let a server of so many GPUs take ten tokens a second."""
    life = server("d1", at(-9000), expected_gpu_count=gpu_count)
    for seconds in TIMES:
        node.token_rows([life], [{"at_us": at(seconds), "input_tokens": 10 * seconds + 9000, "output_tokens": 0}])


def counted(watts: float, times: range = TIMES, **columns: Any) -> list[dict[str, Any]]:
    """Return readings of a host counter that rises by so many watts."""
    return [
        {"at_us": at(seconds), "energy_millijoules": round(watts * 1000 * (seconds + 1000)), **columns}
        for seconds in times
    ]


def mean(watts: float, times: range = TIMES, **columns: Any) -> list[dict[str, Any]]:
    """Return readings of a host's mean power over the time since the reading before."""
    covered = {"power_mean_milliwatts": round(watts * 1000), "covered_us": STEP * SECOND_US}
    return [{"at_us": at(seconds), **covered, **columns} for seconds in times]


def use(root: Path, *nodes: ScriptedNode, seconds: float = HOUR + 300) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the hour's use by node and holder."""
    warehouse = ScriptedWarehouse(root)
    for node in nodes:
        warehouse.land(node.sent)
    with warehouse.measured(seconds) as connection:
        found = rows(connection, USE)
    return {(row.pop("node"), row.pop("holder")): row for row in found}


def half_serving(**more: Any) -> ScriptedNode:
    """Return a node of eight GPUs at 700 W, four of which serve."""
    node = ScriptedNode(gpu_count=8, **more)
    gpus(node, 4)
    serve(node, 4)
    return node


def joules(watts: float) -> float:
    """Return an hour of so many watts, in kilojoules."""
    return watts * HOUR / 1000


@pytest.mark.parametrize("readings", [counted(10_000), mean(10_000)])
def test_measured_input_is_shared_by_gpu_time(tmp_path: Path, readings: list[dict[str, Any]]) -> None:
    """Of 10 kW the GPUs draw 5.6; half of the other 4.4 belongs to the four that serve, half to the four that idle."""
    node = half_serving()
    node.host_rows(readings)
    found = use(tmp_path, node)
    serving, idle = found["n1", "d1"], found["n1", "idle"]

    assert (joules(2800), joules(5000)) == (serving["gpu_kilojoules"], serving["node_kilojoules"])
    assert (joules(5000), "node_input") == (serving["matched_kilojoules"], serving["method"])
    assert (joules(5000), None) == (idle["node_kilojoules"], idle["matched_kilojoules"])
    assert "no_node_power" not in serving["reasons"] + idle["reasons"]


def test_without_an_input_processors_are_added_and_named(tmp_path: Path) -> None:
    """Two sockets of 300 W beside 5.6 kW of GPUs are a part of the node, and are not called its input."""
    node = half_serving()
    for socket in range(2):
        node.host_rows(counted(300, scope="cpu", source="rapl", id=f"package-{socket}"))
    serving = use(tmp_path, node)["n1", "d1"]

    assert (joules(3100), "gpu_plus_cpu") == (serving["node_kilojoules"], serving["method"])
    assert "node_energy_partial" in serving["reasons"]


def test_a_module_is_not_added_to_its_gpus(tmp_path: Path) -> None:
    """Two modules of 3.5 kW hold the GPUs and the processors: they are the energy, whatever else is read."""
    node = half_serving()
    for socket in range(2):
        node.host_rows(mean(3500, scope="module", source="hwmon", id=f"Module Power Socket {socket}"))
        node.host_rows(mean(300, scope="cpu", source="hwmon", id=f"Grace Power Socket {socket}"))
    serving = use(tmp_path, node)["n1", "d1"]

    assert (joules(3500), "module") == (serving["node_kilojoules"], serving["method"])


def test_a_missing_module_is_not_a_smaller_node(tmp_path: Path) -> None:
    """One module's meter of two sockets gives no sum of modules: the processors stand in."""
    node = half_serving()
    node.host_rows(mean(7000, scope="module", source="hwmon", id="Module Power Socket 0"))
    for socket in range(2):
        node.host_rows(mean(300, scope="cpu", source="hwmon", id=f"Grace Power Socket {socket}"))
    serving = use(tmp_path, node)["n1", "d1"]

    assert (joules(3100), "gpu_plus_cpu") == (serving["node_kilojoules"], serving["method"])


def test_two_sources_of_one_input_are_not_added(tmp_path: Path) -> None:
    """A BMC asked by Redfish and by DCMI is one BMC."""
    node = half_serving()
    node.host_rows(counted(10_000))
    node.host_rows(mean(9_900, source="dcmi", id="system"))

    assert joules(5000) == use(tmp_path, node)["n1", "d1"]["node_kilojoules"]


def test_an_input_below_its_gpus_is_not_believed(tmp_path: Path) -> None:
    """A BMC that sees one power supply of two says less than the GPUs draw."""
    node = half_serving()
    node.host_rows(counted(5_000))
    serving = use(tmp_path, node)["n1", "d1"]

    assert (None, None, "(none)") == (serving["node_kilojoules"], serving["matched_kilojoules"], serving["method"])
    assert {"no_node_power", "node_energy_below_gpus"} <= set(serving["reasons"])


def test_a_part_that_does_not_answer_is_missed(tmp_path: Path) -> None:
    """A socket whose meter may not be read leaves the sum of sockets unknown, not half."""
    node = half_serving()
    node.host_rows(counted(300, scope="cpu", source="rapl", id="package-0"))
    node.host_rows([{"at_us": at(60), "scope": "cpu", "source": "rapl", "id": "package-1", "reason": "denied"}])
    serving = use(tmp_path, node)["n1", "d1"]

    assert (None, "(none)") == (serving["node_kilojoules"], serving["method"])
    assert {"no_node_power", "host_energy_incomplete"} <= set(serving["reasons"])


def test_a_fall_ends_the_epoch(tmp_path: Path) -> None:
    """A counter that begins anew leaves its slot unknown, and the unit's ratio with it; the rest is summed."""
    node = half_serving()
    node.host_rows(counted(10_000, range(-300, 1841, STEP)))
    again = [reading | {"energy_millijoules": 0} for reading in counted(0, range(1920, HOUR + 301, STEP))]
    node.host_rows([r | {"energy_millijoules": 300_000_000 * index} for index, r in enumerate(again)])
    serving = use(tmp_path, node)["n1", "d1"]

    assert pytest.approx(joules(5000) * 11 / 12, rel=1e-9) == serving["node_kilojoules"]
    assert (None, True) == (serving["matched_kilojoules"], "no_node_power" in serving["reasons"])


def test_a_silent_host_counter_goes_on(tmp_path: Path) -> None:
    """What a counter rose by while nobody looked is known, and linear at the slots' edges."""
    node = half_serving()
    node.host_rows([r for r in counted(10_000) if not at(700) < r["at_us"] < at(2000)])
    serving = use(tmp_path, node)["n1", "d1"]

    assert (joules(5000), joules(5000)) == (serving["node_kilojoules"], serving["matched_kilojoules"])


def test_another_run_of_the_agent_begins_anew(tmp_path: Path) -> None:
    """A second run's counter stands higher by chance: the difference of two runs is no energy."""
    node = half_serving()
    node.host_rows(counted(10_000, range(-300, 1801, STEP)))
    node.run_id = "run-2"
    node.host_rows(counted(10_000, range(1830, HOUR + 301, STEP)))
    serving = use(tmp_path, node)["n1", "d1"]

    assert pytest.approx(joules(5000) - 5 * 30, abs=1e-6) == serving["node_kilojoules"]


def test_late_host_readings_restate_the_hour_before(tmp_path: Path) -> None:
    """The first reading of the next hour, landed later, closes the last slot of this one."""
    node, late = half_serving(), ScriptedNode(gpu_count=8)
    node.host_rows(counted(10_000, range(-300, 3301, STEP)))
    late.sequences = dict(node.sequences)
    late.host_rows(counted(10_000, range(3660, 3901, STEP)))
    first = use(tmp_path, node)["n1", "d1"]
    second = use(tmp_path, late, seconds=2 * HOUR + 300)["n1", "d1"]

    assert (None, joules(5000)) == (first["matched_kilojoules"], second["matched_kilojoules"])


def pair(second_has_power: bool) -> tuple[ScriptedNode, ScriptedNode]:
    """Return two nodes of one GPU that hold one unit together, the second with or without a host reading."""
    first, second = ScriptedNode(name="n1"), ScriptedNode(name="n2")
    for node in (first, second):
        gpus(node, 1)
    serve(first, 2)
    first.host_rows(counted(1_000))
    if second_has_power:
        second.host_rows(counted(1_200))
    return first, second


def test_a_unit_is_known_on_all_its_nodes_or_not_at_all(tmp_path: Path) -> None:
    """With one of two hosts silent no node's energy is matched, though the first one's is known; the GPUs' stays."""
    found = use(tmp_path, *pair(second_has_power=False))

    assert [joules(1000), None] == [row["node_kilojoules"] for row in found.values()]
    assert [None, None] == [row["matched_kilojoules"] for row in found.values()]
    assert all("no_node_power" in row["reasons"] for row in found.values())


@pytest.mark.parametrize("is_whole", [True, False])
def test_ratios_of_node_and_facility_follow(tmp_path: Path, is_whole: bool) -> None:
    """Ten tokens a second over 2.2 kW and a PUE of 1.25; half of the nodes gives neither, the GPU's figure stays."""
    warehouse = ScriptedWarehouse(tmp_path)
    for node in pair(second_has_power=is_whole):
        warehouse.land(node.sent)
    with warehouse.measured(HOUR + 300) as connection:
        connection.execute(
            "insert into reference.prices (kind, scope, valid_from_at, currency, amount, unit, source, loaded_at) "
            "values ('pue', 'all', '2020-01-01', 'USD', 1.25, '1', 'audit', '2020-01-01')"
        )
        with store.transaction(connection):
            report = price_hours(connection, [START], now=START.replace(hour=12), build=BuildSettings())
        row = rows(connection, "select * from marts.hourly_tokens_per_megawatt")[0]

    assert () == report.withheld
    assert pytest.approx(1e6 * 10 / 1400) == row["tokens_per_second_per_megawatt_gpu"]
    names = ("tokens_per_second_per_megawatt_node", "tokens_per_second_per_megawatt_facility")
    expected = [pytest.approx(1e6 * 10 / 2200), pytest.approx(1e6 * 10 / 2750)] if is_whole else [None, None]
    assert expected == [row[name] for name in names]
    assert ("node_input", "modelled: audit") == (row["node_energy_method"], row["pue_source"])
    assert is_whole == ("no_node_power" not in row["reasons"])


@settings(max_examples=8, deadline=None)
@given(
    serving=st.integers(0, 3),
    watts=st.integers(2101, 9000),
    breaks=st.sets(st.integers(1, len(TIMES) - 1), max_size=3),
    is_mean=st.booleans(),
)
def test_node_energy_is_attributed_whole(serving: int, watts: int, breaks: set[int], is_mean: bool) -> None:
    """Whatever breaks a counter, the units of a node get the millijoules that its slots are known to have taken."""
    node = ScriptedNode(gpu_count=3)
    gpus(node, serving)
    readings = mean(watts) if is_mean else counted(watts)
    node.host_rows([r for index, r in enumerate(readings) if index not in breaks])
    with tempfile.TemporaryDirectory() as root:
        warehouse = ScriptedWarehouse(Path(root))
        warehouse.land(node.sent)
        with warehouse.measured(HOUR + 300) as connection:
            total = "select hour_at, sum(node_energy_millijoules) as e from {} group by all order by all"
            metered, used = (rows(connection, total.format(of)) for of in ("measured.node_energy", "hourly.unit_use"))

    assert metered
    assert metered == used


def test_energy_that_does_not_close_withholds_the_hour(tmp_path: Path) -> None:
    """A joule that the node took and no unit has is named, and the hour's revision held back."""
    warehouse, node = ScriptedWarehouse(tmp_path), half_serving()
    node.host_rows(counted(10_000))
    warehouse.land(node.sent)
    with warehouse.measured(HOUR + 300) as connection, store.transaction(connection):
        connection.execute("update hourly.unit_use set node_energy_millijoules = node_energy_millijoules - 1000")
        report = price_hours(connection, [START], now=START.replace(hour=12), build=BuildSettings())

    assert [("node_joules_are_in_the_fact", "acme")] == [(found.check, found.provider) for found in report.withheld]
