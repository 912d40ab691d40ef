"""Keeps child processes running: starts them in order, restarts the one that ends, and takes all down when told to."""

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Final, Self

from tokenmill_agent.errors import TokenmillError

POLL_SECONDS: Final = 0.2
_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One child process.

    `environment` is laid over this process's own. `ready` is asked until it says yes, before the next service starts;
    one that is not ready within `ready_seconds` is an error. A service without `restart` may end by itself. What it
    prints goes to `log_path`, or where this process prints.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 180.0
    restart: bool = True
    log_path: Path | None = None


@dataclasses.dataclass(slots=True, kw_only=True)
class _Child:
    service: Service
    process: subprocess.Popen[bytes]
    started: float
    delay_seconds: float
    restart_at: float | None = None


class Supervisor:
    """Runs services as children; leave it as a context manager and none of them is left.

    A child that ends is started again after a pause that doubles from `backoff_seconds` to `backoff_max_seconds` and
    falls back once it has run for that long. At the end every child gets SIGTERM, the last started first, and its whole
    process group SIGKILL once it is gone or `stop_seconds` have passed. Where this process is killed itself, the kernel
    sends the children SIGTERM; call `start` and `run` from a thread that lives as long as they should.
    """

    def __init__(
        self,
        say: Say,
        *,
        backoff_seconds: float = 1.0,
        backoff_max_seconds: float = 60.0,
        stop_seconds: float = 30.0,
    ) -> None:
        """Supervise nothing yet; `say` gets one line for each thing that happens."""
        self._say = say
        self._backoff_seconds = backoff_seconds
        self._backoff_max_seconds = backoff_max_seconds
        self._stop_seconds = stop_seconds
        self._children: list[_Child] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take every child down."""
        self.close()

    @property
    def process_ids(self) -> dict[str, int]:
        """Return the process of each running service by its name."""
        return {child.service.name: child.process.pid for child in self._children if child.process.poll() is None}

    def exit_code(self, name: str) -> int | None:
        """Return how the service of that name ended, negative for a signal; None while it runs."""
        return next(child.process.poll() for child in self._children if child.service.name == name)

    def start(self, service: Service, stop: threading.Event | None = None) -> None:
        """Start a service and wait until it is ready, or until `stop` is set.

        Raises:
            TokenmillError: it cannot be started, ended before it was ready, or was not ready in time.
        """
        child = _Child(
            service=service, process=_spawn(service), started=time.monotonic(), delay_seconds=self._backoff_seconds
        )
        self._children.append(child)
        self._say(f"{service.name}: started, process {child.process.pid}")
        if service.ready is not None:
            self._wait_until_ready(child, service.ready, stop or threading.Event())

    def run(self, stop: threading.Event) -> None:
        """Restart what ends until `stop` is set."""
        while not stop.wait(POLL_SECONDS):
            self.look()

    def look(self) -> None:
        """Look at every child once; restart what is due."""
        now = time.monotonic()
        for child in self._children:
            code = child.process.poll()
            if code is None or not child.service.restart:
                continue
            if child.restart_at is None:
                self._schedule(child, code, now)
            elif now >= child.restart_at:
                self._restart(child, now)

    def close(self) -> None:
        """Take every child down, the last started first; safe to call twice."""
        while self._children:
            child = self._children.pop()
            if child.process.poll() is None:
                child.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(self._stop_seconds)
            _kill_group(child.process)
            self._say(f"{child.service.name}: ended, {_told(child.process.wait())}")

    def _wait_until_ready(self, child: _Child, ready: Callable[[], bool], stop: threading.Event) -> None:
        name, seconds = child.service.name, child.service.ready_seconds
        deadline = time.monotonic() + seconds
        while not ready():
            if (code := child.process.poll()) is not None:
                raise TokenmillError(f"{name} ended before it was ready, {_told(code)}{_see(child.service)}")
            if time.monotonic() >= deadline:
                raise TokenmillError(f"{name} was not ready after {seconds:g} s{_see(child.service)}")
            if stop.wait(POLL_SECONDS):
                return
        self._say(f"{name}: ready")

    def _schedule(self, child: _Child, code: int, now: float) -> None:
        # Whatever the dead process started itself must not run beside its successor.
        _kill_group(child.process)
        if now - child.started >= self._backoff_max_seconds:
            child.delay_seconds = self._backoff_seconds
        child.restart_at = now + child.delay_seconds
        self._say(f"{child.service.name}: ended, {_told(code)}; starts again in {child.delay_seconds:g} s")
        child.delay_seconds = min(self._backoff_max_seconds, 2 * child.delay_seconds)

    def _restart(self, child: _Child, now: float) -> None:
        child.process, child.started, child.restart_at = _spawn(child.service), now, None
        self._say(f"{child.service.name}: started again, process {child.process.pid}")


@contextlib.contextmanager
def stop_on_signals(signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> Iterator[threading.Event]:
    """Yield an event that the signals set; the handlers that were there before come back at the end."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _spawn(service: Service) -> subprocess.Popen[bytes]:
    output: IO[bytes] | None = None
    try:
        if service.log_path is not None:
            service.log_path.parent.mkdir(parents=True, exist_ok=True)
            output = service.log_path.open("ab")
        # A group of its own, so that a Ctrl-C at the terminal reaches the supervisor alone, and one kill all of it.
        return subprocess.Popen(
            service.command,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - only a system call between fork and exec
            env={**os.environ, **service.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
    except OSError as error:
        raise TokenmillError(f"cannot start {service.name}: {error.filename or error}: {error.strerror}") from error
    finally:
        if output is not None:
            output.close()


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the thread that started this process ends, however it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _told(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _see(service: Service) -> str:
    return f"; see {service.log_path}" if service.log_path else ""
