"""Which hwmon meters of a Grace superchip are read, and as what."""

from pathlib import Path

import pytest

from tests.agents.host.sysfs import hwmon, write
from tokenmill_agent.host.hwmon import HwmonSource
from tokenmill_agent.host.reading import HostReading

GRACE = {
    **hwmon(0, "Module Power Socket 0", "512000000"),
    **hwmon(1, "Grace Power Socket 0", "98000400"),
    **hwmon(2, "CPU Power Socket 0", "51000000"),
    **hwmon(3, "SysIO Power Socket 0", "6100000"),
}


def test_module_and_socket_are_read_and_the_rails_inside_a_socket_are_not(tmp_path: Path) -> None:
    """The socket's power holds that of its cores and of the rest of the chip."""
    expected = [
        HostReading(scope="cpu", source="hwmon", id="Grace Power Socket 0", power_milliwatts=98_000),
        HostReading(scope="module", source="hwmon", id="Module Power Socket 0", power_milliwatts=512_000),
    ]

    assert expected == HwmonSource(write(tmp_path, GRACE)).read()


def test_the_rails_are_read_where_the_socket_has_no_meter(tmp_path: Path) -> None:
    """Of socket 1 only its rails are known; socket 0 is not added to by them."""
    files = {**GRACE, **hwmon(4, "CPU Power Socket 1", "50000000"), **hwmon(5, "SysIO Power Socket 1", "6000000")}
    cpu = [reading.id for reading in HwmonSource(write(tmp_path, files)).read() if reading.scope == "cpu"]

    assert ["CPU Power Socket 1", "Grace Power Socket 0", "SysIO Power Socket 1"] == cpu


def test_the_mean_is_taken_before_the_momentary_value(tmp_path: Path) -> None:
    """One meter has both files and is one reading."""
    label = "Grace Power Socket 0"
    files = {**hwmon(0, label, "1000000", kind="input"), **hwmon(0, label, "2000000")}

    assert [2_000] == [reading.power_milliwatts for reading in HwmonSource(write(tmp_path, files)).read()]


def test_a_momentary_value_with_a_label_beside_it_is_read(tmp_path: Path) -> None:
    """Other drivers keep label and value in the meter's own directory."""
    folder = "class/hwmon/hwmon7"
    files = {f"{folder}/power3_label": "Grace Power Socket 1\n", f"{folder}/power3_input": "5000000\n"}

    assert [5_000] == [reading.power_milliwatts for reading in HwmonSource(write(tmp_path, files)).read()]


@pytest.mark.parametrize("label", ["", "PSU 1 Input", "Grace Power Socket x", "Total Grace Power Socket 0"])
def test_a_meter_of_another_name_is_not_read(tmp_path: Path, label: str) -> None:
    """What it measures is not known."""
    assert [] == HwmonSource(write(tmp_path, hwmon(0, label, "1000000"))).read()


def test_a_node_without_meters_has_no_readings(tmp_path: Path) -> None:
    """That is no error: most nodes have none."""
    assert [] == HwmonSource(tmp_path).read()


@pytest.mark.parametrize("content", ["", "none", "-5", "9999999999999999"])
def test_a_value_that_is_no_power_is_missing_with_its_reason(tmp_path: Path, content: str) -> None:
    """It is never 0."""
    (reading,) = HwmonSource(write(tmp_path, hwmon(0, "Grace Power Socket 0", content))).read()

    assert (None, "absurd") == (reading.power_milliwatts, reading.reason)


def test_a_meter_that_vanished_says_so_once_and_is_looked_for_again(tmp_path: Path) -> None:
    """A driver that is loaded anew may give it another number."""
    source = HwmonSource(write(tmp_path, hwmon(0, "Grace Power Socket 0", "1000000")))
    source.read()
    (tmp_path / "class/hwmon/hwmon0/device/power1_average").unlink()
    gone = source.read()
    write(tmp_path, hwmon(4, "Grace Power Socket 0", "3000000"))

    assert (["not_found"], [3_000]) == ([r.reason for r in gone], [r.power_milliwatts for r in source.read()])
