"""The time that everything in the agent reads and waits on: the system's, or one that a test or a replay drives."""

import bisect
import ctypes
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Final, Literal, Protocol

from tokenmill_agent.errors import TokenmillError

BOOT_ID_PATH: Final = Path("/proc/sys/kernel/random/boot_id")
MICROSECONDS: Final = 1_000_000
_START_TIME_FIELD: Final = 22
_ANCHORS_MAX: Final = 100_000
_POLL_SECONDS: Final = 0.02
_TIMEX_BYTES: Final = 512
_TIME_ERROR: Final = 5


class Clock(Protocol):
    """Wall time, time since boot, waiting, and when a process of this node began."""

    @property
    def kind(self) -> Literal["system", "driven"]:
        """Say whether real time passes or somebody drives it."""
        ...

    def now_us(self) -> int:
        """Return the wall time in microseconds since 1970, UTC."""
        ...

    def monotonic_us(self) -> int:
        """Return microseconds since boot; never steps, counts while the node is suspended (CLOCK_BOOTTIME)."""
        ...

    def boot_id(self) -> str:
        """Return what names this boot of the node."""
        ...

    def sleep_until(self, monotonic_us: int, stop: threading.Event) -> None:
        """Return when `monotonic_us` is reached or `stop` is set, whichever is first."""
        ...

    def process_started_at_us(self, pid: int) -> int | None:
        """Return the wall time at which process `pid` began, None where it does not exist or cannot be read."""
        ...


class SystemClock:
    """The clocks of this machine."""

    kind: Final = "system"

    def __init__(self, *, boot_id: str | None = None, monotonic_offset_us: int = 0) -> None:
        """Read the system; a simulated node has a `boot_id` of its own and was booted `monotonic_offset_us` earlier."""
        self._boot_id = boot_id or _read_boot_id()
        self._monotonic_offset_us = monotonic_offset_us
        self._process_starts: dict[tuple[int, int], int] = {}

    def now_us(self) -> int:
        """Return the wall time in microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """Return microseconds since boot (CLOCK_BOOTTIME)."""
        return boottime_us() + self._monotonic_offset_us

    def boot_id(self) -> str:
        """Return the kernel's name of this boot."""
        return self._boot_id

    def sleep_until(self, monotonic_us: int, stop: threading.Event) -> None:
        """Wait, without drift and without waking before the time."""
        while (left_us := monotonic_us - self.monotonic_us()) > 0 and not stop.is_set():
            stop.wait(left_us / MICROSECONDS)

    def process_started_at_us(self, pid: int) -> int | None:
        """Return when `pid` began, to the kernel's 10 ms; a later step of the wall clock does not move it."""
        since_boot_us = process_start_since_boot_us(pid)
        if since_boot_us is None:
            return None
        known = self._process_starts.get((pid, since_boot_us))
        if known is None:
            # Wall time less boot time moves only when the wall clock is stepped, so a restarted agent finds the same.
            tick_us = _tick_us()
            known = round((self.now_us() - boottime_us() + since_boot_us) / tick_us) * tick_us
            self._remember(pid, since_boot_us, known)
        return known

    def _remember(self, pid: int, since_boot_us: int, started_at_us: int) -> None:
        if len(self._process_starts) >= _ANCHORS_MAX:
            self._process_starts.clear()
        self._process_starts[pid, since_boot_us] = started_at_us


class DrivenClock:
    """A clock that stands still until it is advanced; safe to read and to advance from several threads.

    Processes live in real time, so every advance is remembered beside the real moment at which it happened: a process
    began at the driven time that was current when it really began.
    """

    kind: Final = "driven"

    def __init__(
        self,
        now_us: int,
        *,
        monotonic_us: int = 3_600 * MICROSECONDS,
        boot_id: str | None = None,
        auto_advance: bool = False,
    ) -> None:
        """Start at wall time `now_us`; with `auto_advance` a sleeper moves the clock itself and returns at once."""
        self._changed = threading.Condition()
        self._now_us = now_us
        self._monotonic_us = monotonic_us
        self._boot_id = boot_id or str(uuid.uuid4())
        self._auto_advance = auto_advance
        self._anchors_real_us = [boottime_us()]
        self._anchors_driven_us = [now_us]

    def now_us(self) -> int:
        """Return the driven wall time in microseconds since 1970, UTC."""
        with self._changed:
            return self._now_us

    def monotonic_us(self) -> int:
        """Return the driven microseconds since boot."""
        with self._changed:
            return self._monotonic_us

    def boot_id(self) -> str:
        """Return the name that the driver of this clock gave to its boot."""
        return self._boot_id

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass.

        Raises:
            ValueError: `seconds` is negative; a wall clock that is set back is `step_wall`.
        """
        with self._changed:
            self._pass_us(round(seconds * MICROSECONDS))

    def advance_to_us(self, now_us: int) -> None:
        """Let time pass until the wall clock shows `now_us`.

        Raises:
            ValueError: that is in the past.
        """
        with self._changed:
            self._pass_us(now_us - self._now_us)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back without letting time pass."""
        with self._changed:
            self._now_us += round(seconds * MICROSECONDS)
            self._anchor()

    def sleep_until(self, monotonic_us: int, stop: threading.Event) -> None:
        """Advance to `monotonic_us` where the clock advances itself, else wait until somebody does or `stop` is set."""
        with self._changed:
            if self._auto_advance:
                self._pass_us(max(0, monotonic_us - self._monotonic_us))
                return
            while self._monotonic_us < monotonic_us and not stop.is_set():
                # An event cannot wake this condition, so it is looked at now and then.
                self._changed.wait(_POLL_SECONDS)

    def process_started_at_us(self, pid: int) -> int | None:
        """Return the driven time that was current when `pid` really began."""
        since_boot_us = process_start_since_boot_us(pid)
        if since_boot_us is None:
            return None
        # The kernel rounds the start down to 10 ms. Its upper end is taken, since whoever drives the clock starts
        # processes right after an advance, and none of them is ready within those 10 ms.
        real_us = since_boot_us + _tick_us()
        with self._changed:
            index = bisect.bisect_right(self._anchors_real_us, real_us) - 1
            if index < 0:
                return self._anchors_driven_us[0] - (self._anchors_real_us[0] - since_boot_us)
            return self._anchors_driven_us[index]

    def _pass_us(self, passed_us: int) -> None:
        if passed_us < 0:
            raise ValueError(f"a driven clock cannot go back by {-passed_us} us")
        self._now_us += passed_us
        self._monotonic_us += passed_us
        self._anchor()
        self._changed.notify_all()

    def _anchor(self) -> None:
        real_us = boottime_us()
        if self._anchors_real_us[-1] == real_us:
            self._anchors_driven_us[-1] = self._now_us
            return
        self._anchors_real_us.append(real_us)
        self._anchors_driven_us.append(self._now_us)
        if len(self._anchors_real_us) > _ANCHORS_MAX:
            del self._anchors_real_us[: _ANCHORS_MAX // 2]
            del self._anchors_driven_us[: _ANCHORS_MAX // 2]


def is_synchronised() -> bool | None:
    """Return whether something (NTP, PTP) keeps the wall clock in time, as adjtimex(2) tells; None where it may not."""
    # Nothing is set with all zeros; the largest struct timex has 208 bytes.
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return state != _TIME_ERROR if state >= 0 else None


def boottime_us() -> int:
    """Return this machine's microseconds since boot, suspension included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def process_start_since_boot_us(pid: int) -> int | None:
    """Return when `pid` began in microseconds since boot, as /proc tells it; None where it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The second field is the program's name in parentheses and may hold spaces and parentheses itself.
        return int(text.rpartition(")")[2].split()[_START_TIME_FIELD - 3]) * _tick_us()
    except (OSError, ValueError, IndexError):
        return None


def _tick_us() -> int:
    return MICROSECONDS // os.sysconf("SC_CLK_TCK")


def _read_boot_id() -> str:
    try:
        return BOOT_ID_PATH.read_text(encoding="ascii").strip()
    except OSError as error:
        raise TokenmillError(
            f"cannot read {BOOT_ID_PATH}: {error.strerror}; the agent needs Linux with /proc mounted"
        ) from error
