"""Small files of the kernel, and what no node can draw."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.host.reading import MissingError, plausible_milliwatts, read_integer, read_text


@pytest.mark.parametrize("content", [b"", b"-1\n", b"1 2", b"nan", b"1e6", b"1_000", b"9" * 40, "\u0661".encode()])
def test_what_is_no_whole_number_is_absurd(tmp_path: Path, content: bytes) -> None:
    """A counter of the kernel is digits and nothing else."""
    path = tmp_path / "energy_uj"
    path.write_bytes(content)

    with pytest.raises(MissingError, match="absurd"):
        read_integer(path)


def test_a_file_that_vanished_is_not_found(tmp_path: Path) -> None:
    """The reason is the row's, the path only the log's."""
    with pytest.raises(MissingError) as caught:
        read_integer(tmp_path / "gone")

    assert ("not_found", True) == (caught.value.reason, "gone" in str(caught.value.detail))


@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_number_or_absurd(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Nothing that a file may hold ends the agent."""
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)

    try:
        found = read_integer(path)
    except MissingError as error:
        assert "absurd" == error.reason  # noqa: PT017 - both ends are allowed
    else:
        assert int(content) == found


def test_an_empty_label_is_none(tmp_path: Path) -> None:
    """Some boards have the file and nothing in it."""
    (tmp_path / "label").write_bytes(b"\0\n")

    assert read_text(tmp_path / "label") is None


@pytest.mark.parametrize("watts", [math.nan, math.inf, -math.inf, -1.0, 1e7])
def test_a_power_that_no_node_draws_is_absurd(watts: float) -> None:
    """It must not become a figure."""
    with pytest.raises(MissingError, match="absurd"):
        plausible_milliwatts(watts)


def test_watts_become_milliwatts() -> None:
    """Rounded to the nearest."""
    assert 394_200 == plausible_milliwatts(394.2)
