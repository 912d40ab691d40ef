"""Tests of tokenmill_pipeline.locks."""

import subprocess
import sys
from pathlib import Path

from tokenmill_pipeline.locks import hold


def test_exclusive_holds_exclude_each_other_within_a_process(tmp_path: Path) -> None:
    """A second exclusive hold is refused while the first one lasts, and granted after it."""
    lock = tmp_path / "folder" / "one.lock"

    with hold(lock), hold(lock, wait=False) as second:
        assert False is second
    with hold(lock, wait=False) as third:
        assert True is third


def test_shared_holds_go_together_and_exclude_an_exclusive_one(tmp_path: Path) -> None:
    """Readers share; whoever wants the lock alone is refused while one reads."""
    lock = tmp_path / "one.lock"

    with hold(lock, shared=True), hold(lock, shared=True, wait=False) as reader, hold(lock, wait=False) as writer:
        assert (True, False) == (reader, writer)


def test_the_kernel_frees_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    """After SIGKILL of its holder a lock can be had at once."""
    lock = tmp_path / "one.lock"
    program = (
        "import sys, time, pathlib; from tokenmill_pipeline.locks import hold\n"
        "with hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        with hold(lock, wait=False) as held:
            assert False is held
        holder.kill()

    with hold(lock, wait=False) as held:
        assert True is held
