"""Tests of tokenmill_pipeline.landing_write."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.landed import land, offsets_landed
from tests.wire_messages import HOUR_US, START_US, gpu_power
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.landing import list_slices, slices_dir, stored_offsets
from tokenmill_pipeline.landing_write import hour_name, unique_name, write_slice, written_aside

FULL_DISK = """
import pathlib, resource, sys
from tests.landed import land
from tests.wire_messages import gpu_power
from tokenmill_agent.errors import TokenmillError
landing = pathlib.Path(sys.argv[1])
land(landing, [gpu_power()])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    land(landing, [gpu_power(gpus=64, sequence=s) for s in range(64)])
except TokenmillError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_is_one_clear_line_and_nothing_half_written(tmp_path: Path) -> None:
    """The kernel refuses a write in the middle of a slice: no row, no offset, no left-over, and a sentence."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )

    assert f"cannot write to the landing {tmp_path}: File too large; nothing was half-written" in done.stdout
    assert ([0, 0], {("gpu-power", 0): 1}) == (offsets_landed(tmp_path), stored_offsets(tmp_path))
    assert 1 == len(list(slices_dir(tmp_path).iterdir()))


def test_a_landing_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is as clear as missing rights."""
    (tmp_path / "slices").write_text("")

    with pytest.raises(TokenmillError, match=r"cannot write to the landing .*: File exists"):
        write_slice(tmp_path, {}, [], source=None)


def test_what_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    """An error inside removes the temporary directory."""
    with pytest.raises(FileNotFoundError), written_aside(tmp_path, "s-1") as directory:
        (directory / "no" / "such" / "folder").write_text("half")

    assert [] == list(tmp_path.iterdir())


def test_late_hours_are_noted(tmp_path: Path) -> None:
    """Hours that ended before the late window are told apart from the others."""
    messages = [gpu_power(at_us=START_US), gpu_power(at_us=START_US + HOUR_US)]
    manifests = [land(tmp_path, messages, late_before_us=START_US + hours * HOUR_US) for hours in (0, 1, 2)]

    assert [(), (START_US,), (START_US, START_US + HOUR_US)] == [manifest.late_hours_us for manifest in manifests]


def test_names_sort_by_time() -> None:
    """The order of names is the order of landing, for any two times of this era."""
    names = [unique_name("s", time_us) for time_us in (5, 1_790_000_000_000_000, 1_790_000_000_000_001)]

    assert sorted(names) == names
    assert 2 == len({unique_name("s", 5), unique_name("s", 5)})


def test_an_hour_is_named_in_utc() -> None:
    """Names do not depend on the machine's time zone."""
    assert "20260921T14" == hour_name(START_US)


def test_many_writers_land_side_by_side(tmp_path: Path) -> None:
    """Slices of several topics do not disturb each other."""
    for sequence in range(3):
        land(tmp_path, [gpu_power(sequence=sequence)], topic=f"topic-{sequence}")

    assert 3 == len(list_slices(tmp_path))
