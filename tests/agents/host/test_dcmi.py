"""The two tools that ask a management controller through IPMI, as real programs on the path."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.host.dcmi import DcmiSource, parse
from tokenmill_agent.host.reading import HostReading, MissingError

FREEIPMI = """\
Current Power                        : 394 Watts
Minimum Power over sampling duration : 10 watts
Maximum Power over sampling duration : 612 watts
Average Power over sampling duration : 390 watts
Time Stamp                           : 11/24/2026 - 10:46:32
Statistics reporting time period     : 1000 milliseconds
Power Measurement                    : Active
"""
IPMITOOL = """\

    Instantaneous power reading:                   1394 Watts
    Minimum during sampling period:                 10 Watts
    Maximum during sampling period:               1612 Watts
    Average power reading over sample period:     1390 Watts
    IPMI timestamp:                           Tue Nov 24 10:46:32 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated


"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that comes first on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin")
    return folder


def put(folder: Path, name: str, script: str) -> None:
    """Write a program of the shell."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def read(*, tool: str | None = "ipmitool", timeout_seconds: float = 30.0) -> HostReading:
    """Return one reading."""
    (reading,) = DcmiSource(tool=tool, interval_seconds=10.0, timeout_seconds=timeout_seconds).read()
    return reading


@pytest.mark.parametrize(("output", "milliwatts"), [(FREEIPMI, 394_000), (IPMITOOL, 1_394_000)])
def test_the_present_power_is_taken(output: str, milliwatts: int) -> None:
    """Not the mean, the least or the most, which are over a time that the controller chose."""
    assert milliwatts == parse(output)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (FREEIPMI.replace("Active", "Not Available"), "not_supported"),
        (IPMITOOL.replace("activated", "deactivated"), "not_supported"),
        (IPMITOOL.replace("1394", "0"), "absurd"),
        ("DCMI request failed because: Invalid command (c1)", "not_supported"),
        ("Could not open device at /dev/ipmi0: No such file or directory", "not_supported"),
        ("ipmi-dcmi: permission denied", "permission_denied"),
        ("", "tool_failed"),
        ("Segmentation fault", "tool_failed"),
    ],
)
def test_without_a_power_there_is_a_reason(output: str, reason: str) -> None:
    """A controller that does not measure says 0, which no running node draws."""
    with pytest.raises(MissingError) as caught:
        parse(output)

    assert reason == caught.value.reason


@given(output=st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", errors="replace")))
def test_any_output_is_a_power_or_a_reason(output: str) -> None:
    """Nothing that a tool may print ends the agent."""
    try:
        assert parse(output) >= 1000
    except MissingError as error:
        assert error.reason  # noqa: PT017 - both ends are allowed


def test_the_tool_is_run_with_its_arguments(tools: Path) -> None:
    """It is a real program on the path."""
    put(tools, "ipmitool", f'[ "$*" = "dcmi power reading" ] && cat <<"X"\n{IPMITOOL}X')

    assert HostReading(scope="node_input", source="dcmi", id="system", power_milliwatts=1_394_000) == read()


def test_the_first_known_tool_on_the_path_is_taken(tools: Path) -> None:
    """Where none is named."""
    put(tools, "ipmi-dcmi", f'[ "$*" = "--get-system-power-statistics" ] && cat <<"X"\n{FREEIPMI}X')

    assert 394_000 == read(tool=None).power_milliwatts


def test_a_missing_tool_says_so(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its name for the log."""
    monkeypatch.setenv("PATH", str(tools))
    reading = read(tool=None)

    assert ("tool_missing", "ipmi-dcmi and ipmitool not found on the path") == (reading.reason, reading.detail)


def test_a_tool_that_hangs_is_ended_with_its_children(tools: Path) -> None:
    """Its child holds the pipe open and would be waited for otherwise."""
    put(tools, "ipmitool", "sleep 600 & \nexit 0")

    assert "timeout" == read(timeout_seconds=0.5).reason


def test_a_tool_that_does_not_end_after_its_output_is_ended(tools: Path) -> None:
    """What it printed is read."""
    put(tools, "ipmitool", f'cat <<"X"\n{IPMITOOL}X\nexec >&- 2>&-\nsleep 600')

    assert 1_394_000 == read().power_milliwatts


def test_a_tool_does_not_see_the_agents_secrets(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given the path and the language."""
    monkeypatch.setenv("TOKENMILL_REDFISH_PASSWORD", "secret")
    put(tools, "ipmitool", 'echo "leaked:$TOKENMILL_REDFISH_PASSWORD"')

    assert "leaked:" == read().detail


def test_a_tool_that_prints_without_end_is_cut_off(tools: Path) -> None:
    """Memory stays bounded, and what came before is read."""
    put(tools, "ipmitool", f'cat <<"X"\n{IPMITOOL}X\nyes')

    assert 1_394_000 == read().power_milliwatts


def test_a_tool_that_is_no_program_fails_with_a_reason(tools: Path) -> None:
    """The system refuses to run it."""
    path = tools / "ipmitool"
    path.write_bytes(b"\x00\x01")
    path.chmod(0o755)

    assert "tool_failed" == read().reason
