"""Which sources the settings make."""

from pathlib import Path

import pytest

from tests.agents.host.sysfs import rapl, write
from tokenmill_agent.errors import UsageError
from tokenmill_agent.host.settings import HostSettings
from tokenmill_agent.host.sources import make_sources


def test_each_source_is_made_once_and_in_order() -> None:
    """The kernel's at every sample, a controller's at its own interval."""
    settings = HostSettings(
        sources=("dcmi", "redfish", "rapl", "hwmon", "rapl"), redfish_url="https://bmc", poll_interval_seconds=20.0
    )
    made = [(source.name, source.interval_seconds) for source in make_sources(settings, environ={})]

    assert [("dcmi", 20.0), ("redfish", 20.0), ("rapl", None), ("hwmon", None)] == made


def test_they_read_below_the_root_that_is_given(tmp_path: Path) -> None:
    """A test, or a container that sees the node's files elsewhere, has a root of its own."""
    write(tmp_path, rapl("intel-rapl:0", "package-0", "5"))
    readings = [reading.id for source in make_sources(HostSettings(), sysfs=tmp_path) for reading in source.read()]

    assert ["package-0"] == readings


def test_a_url_that_cannot_be_used_is_refused() -> None:
    """At the start, not at the first reading."""
    with pytest.raises(UsageError, match="redfish_url"):
        make_sources(HostSettings(sources=("redfish",), redfish_url="http://bmc"), environ={})
