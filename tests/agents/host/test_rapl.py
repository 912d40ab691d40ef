"""Which RAPL counters are read, and what stands where one cannot be."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.host.sysfs import rapl, write
from tokenmill_agent.host.rapl import RaplSource

NOBODY = 65_534
SERVER = {
    **rapl("intel-rapl:0", "package-0", "1000"),
    **rapl("intel-rapl:0:0", "dram", "200"),
    **rapl("intel-rapl:0:1", "core", "700"),
    **rapl("intel-rapl:1", "package-1", "3000"),
}


def test_packages_and_their_memory_are_read_once(tmp_path: Path) -> None:
    """Cores are inside their package, memory is beside it."""
    readings = RaplSource(write(tmp_path, SERVER)).read()

    assert [("package-0", 1000), ("package-0/dram", 200), ("package-1", 3000)] == [
        (reading.id, reading.energy_microjoules) for reading in readings
    ]


def test_all_of_it_is_of_the_cpu_scope(tmp_path: Path) -> None:
    """The sum of the rows is what the CPUs and their memory take."""
    assert {"cpu"} == {reading.scope for reading in RaplSource(write(tmp_path, SERVER)).read()}


@contextlib.contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Do without root's right to read every file, in a folder that is then one's own."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "other",
    [
        rapl("intel-rapl:2", "psys", "9000"),
        {**rapl("intel-rapl:2", "psys", "9000"), **rapl("intel-rapl:2:0", "dram", "1")},
        rapl("intel-rapl-mmio:0", "package-0", "1000"),
        rapl("intel-rapl:3", "package-0", "1000"),
    ],
)
def test_a_second_way_to_the_same_energy_is_not_read(tmp_path: Path, other: dict[str, str]) -> None:
    """The platform holds the packages, and one counter may be shown twice."""
    readings = RaplSource(write(tmp_path, {**SERVER, **other})).read()

    assert ["package-0", "package-0/dram", "package-1"] == [reading.id for reading in readings]


def test_the_dies_of_a_package_are_counters_of_their_own(tmp_path: Path) -> None:
    """The kernel names them by package and die."""
    files = {**rapl("intel-rapl:0", "package-0-die-0", "1"), **rapl("intel-rapl:1", "package-0-die-1", "2")}

    assert [1, 2] == [reading.energy_microjoules for reading in RaplSource(write(tmp_path, files)).read()]


def test_the_range_is_unknown_where_a_container_hides_it(tmp_path: Path) -> None:
    """The counter is read all the same."""
    files = rapl("intel-rapl:0", "package-0", "1", range_microjoules=None)
    (reading,) = RaplSource(write(tmp_path, files)).read()

    assert (1, None, None) == (reading.energy_microjoules, reading.energy_range_microjoules, reading.reason)


def test_a_counter_that_may_not_be_read_says_so() -> None:
    """Kernels since 2020 show it to root alone."""
    with tempfile.TemporaryDirectory() as folder, unprivileged(Path(folder)):
        write(Path(folder), SERVER)
        (Path(folder) / "class/powercap/intel-rapl:0/energy_uj").chmod(0)
        denied, other = RaplSource(Path(folder)).read()[:2]

    assert (None, "permission_denied") == (denied.energy_microjoules, denied.reason)
    assert None is other.reason


def test_a_counter_that_is_a_directory_fails_without_a_value(tmp_path: Path) -> None:
    """Whatever the system answers becomes a reason."""
    write(tmp_path, {"class/powercap/intel-rapl:0/name": "package-0"})
    (tmp_path / "class/powercap/intel-rapl:0/energy_uj").mkdir()

    assert ["read_failed"] == [reading.reason for reading in RaplSource(tmp_path).read()]


def test_a_node_without_counters_has_no_readings(tmp_path: Path) -> None:
    """That is no error: a virtual machine has none."""
    assert [] == RaplSource(tmp_path).read()
