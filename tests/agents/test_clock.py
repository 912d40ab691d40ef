"""Time: the machine's, and one that a test drives."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenmill_agent import clock as module
from tokenmill_agent.clock import DrivenClock, SystemClock
from tokenmill_agent.errors import TokenmillError

NOW_US = 1_795_000_000_000_000
MINUTE_US = 60_000_000


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that runs until the test ends."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


class TestSystemClock:
    """The clocks of this machine."""

    def test_it_shows_the_time_of_the_system(self) -> None:
        """Wall time and time since boot are those of the kernel, in whole microseconds."""
        clock = SystemClock()
        before_us, booted_us = time.time_ns() // 1000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000

        assert before_us <= clock.now_us() <= before_us + MINUTE_US
        assert booted_us <= clock.monotonic_us() <= booted_us + MINUTE_US
        assert "system" == clock.kind

    def test_the_boot_has_the_kernels_name(self) -> None:
        """Every agent on this node, and the same agent after a restart, names the boot alike."""
        assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == SystemClock().boot_id()

    def test_a_system_without_the_name_is_an_error_with_a_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One line says what the agent needs."""
        monkeypatch.setattr(module, "BOOT_ID_PATH", Path("/nowhere/boot_id"))
        with pytest.raises(TokenmillError, match="needs Linux with /proc"):
            SystemClock()

    def test_it_sleeps_until_the_time_and_not_less(self) -> None:
        """The end is a moment, not a duration, so that ticks do not drift."""
        clock = SystemClock()
        end_us = clock.monotonic_us() + 20_000
        clock.sleep_until(end_us, threading.Event())

        assert end_us <= clock.monotonic_us()

    def test_a_stop_ends_the_sleep(self) -> None:
        """A stop that is set already does not wait at all."""
        stop = threading.Event()
        stop.set()
        clock = SystemClock()
        clock.sleep_until(clock.monotonic_us() + 3600 * 1_000_000, stop)

        assert stop.is_set()

    def test_a_process_began_before_now_and_after_this_one(self, sleeper: subprocess.Popen[bytes]) -> None:
        """The start of a child lies between the start of its parent and now, to the kernel's 10 ms."""
        clock = SystemClock()
        parent_us, child_us = clock.process_started_at_us(os.getpid()), clock.process_started_at_us(sleeper.pid)

        assert parent_us is not None
        assert child_us is not None
        assert parent_us <= child_us <= clock.now_us() + 10_000

    def test_two_agents_see_the_same_start(self, sleeper: subprocess.Popen[bytes]) -> None:
        """A restarted agent does not take a server for a new process."""
        first, second = (SystemClock().process_started_at_us(sleeper.pid) for _ in range(2))

        assert first == second

    def test_a_process_that_is_not_there_has_no_start(self) -> None:
        """Its id is beyond any that Linux gives."""
        assert None is SystemClock().process_started_at_us(2**31 - 1)

    def test_a_simulated_node_was_booted_earlier(self) -> None:
        """Its time since boot is ahead of the machine's by the offset, its boot has its own name."""
        clock = SystemClock(boot_id="boot", monotonic_offset_us=10**15)

        assert "boot" == clock.boot_id()
        assert clock.monotonic_us() > 10**15


class TestDrivenClock:
    """A clock that a test or a replay drives."""

    def test_it_stands_still_until_it_is_advanced(self) -> None:
        """Wall time and time since boot move together."""
        clock = DrivenClock(NOW_US, monotonic_us=5)

        assert (NOW_US, 5, "driven") == (clock.now_us(), clock.monotonic_us(), clock.kind)

        clock.advance(1.5)
        clock.advance_to_us(NOW_US + MINUTE_US)

        assert (NOW_US + MINUTE_US, 5 + MINUTE_US) == (clock.now_us(), clock.monotonic_us())

    def test_time_does_not_run_back(self) -> None:
        """Going back is refused; setting the wall clock back is another thing and leaves the time since boot."""
        clock = DrivenClock(NOW_US, monotonic_us=5)
        with pytest.raises(ValueError, match="cannot go back by 1 us"):
            clock.advance_to_us(NOW_US - 1)
        clock.step_wall(-120)

        assert (NOW_US - 2 * MINUTE_US, 5) == (clock.now_us(), clock.monotonic_us())

    def test_a_sleeper_moves_the_clock_itself_where_it_may(self) -> None:
        """History runs as fast as the machine can; a time that has passed moves nothing."""
        clock = DrivenClock(NOW_US, monotonic_us=0, auto_advance=True)
        clock.sleep_until(MINUTE_US, threading.Event())
        clock.sleep_until(5, threading.Event())

        assert (NOW_US + MINUTE_US, MINUTE_US) == (clock.now_us(), clock.monotonic_us())

    def test_a_sleeper_waits_for_who_drives(self) -> None:
        """It wakes when the time is reached, and not before."""
        clock = DrivenClock(NOW_US, monotonic_us=0)
        thread = threading.Thread(target=clock.sleep_until, args=(MINUTE_US, threading.Event()), daemon=True)
        thread.start()
        clock.advance(59)
        thread.join(0.1)

        assert thread.is_alive()

        clock.advance(1)
        thread.join(30)

        assert not thread.is_alive()

    def test_a_stop_ends_the_sleep(self) -> None:
        """Also where nobody drives any more."""
        stop = threading.Event()
        clock = DrivenClock(NOW_US)
        thread = threading.Thread(target=clock.sleep_until, args=(10**15, stop), daemon=True)
        thread.start()
        stop.set()
        thread.join(30)

        assert not thread.is_alive()

    def test_a_process_began_at_the_driven_time_of_its_real_start(self) -> None:
        """Two processes, an hour of driven time and a moment of real time between them."""
        clock = DrivenClock(NOW_US)
        clock.advance(3600)
        first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(0.05)
        clock.advance(3600)
        second = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(0.05)
        clock.advance(3600)
        starts = [clock.process_started_at_us(process.pid) for process in (first, second)]
        for process in (first, second):
            process.kill()
            process.wait()

        assert [NOW_US + 3600 * 1_000_000, NOW_US + 7200 * 1_000_000] == starts

    def test_a_process_older_than_the_clock_began_before_it(self) -> None:
        """By as much as it really is older."""
        started_at_us = DrivenClock(NOW_US).process_started_at_us(os.getpid())

        assert started_at_us is not None
        assert NOW_US - 24 * 3600 * 1_000_000 < started_at_us < NOW_US

    def test_a_process_that_is_not_there_has_no_start(self) -> None:
        """As on the system's clock."""
        assert None is DrivenClock(NOW_US).process_started_at_us(2**31 - 1)

    def test_a_long_history_is_remembered_in_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The oldest moments are forgotten; the newest still tell when a process began."""
        monkeypatch.setattr(module, "_ANCHORS_MAX", 10)
        clock = DrivenClock(NOW_US)
        for _ in range(50):
            clock.advance(1)
            time.sleep(0.0001)

        assert len(clock._anchors_real_us) <= 11
        assert clock.now_us() == clock._anchors_driven_us[-1]
