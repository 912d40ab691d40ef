"""Children are started in order, restarted when they end, and none is left behind."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.supervise import Service, Supervisor, stop_on_signals

PATIENCE_SECONDS = 60.0
SLEEPER = "import time; time.sleep(600)"


def service(name: str, program: str, **options: object) -> Service:
    """Return a service that runs a Python program."""
    return Service(name=name, command=(sys.executable, "-c", program), **options)  # type: ignore[arg-type]


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until the condition holds, for a long time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_alive(process_id: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_every_child_is_gone_when_the_block_ends() -> None:
    """Leaving the supervisor ends every child that it started."""
    with Supervisor(lambda _line: None) as supervisor:
        supervisor.start(service("one", SLEEPER))
        supervisor.start(service("two", SLEEPER))
        process_ids = list(supervisor.process_ids.values())

    assert [False, False] == [is_alive(process_id) for process_id in process_ids]


def test_grandchildren_are_gone_too(tmp_path: Path) -> None:
    """What a child started itself ends with it."""
    note = tmp_path / "pid"
    program = (
        f"import pathlib, subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); "
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    with Supervisor(lambda _line: None) as supervisor:
        supervisor.start(service("parent", program, ready=lambda: note.exists() and bool(note.read_text())))
        grandchild = int(note.read_text())

    assert eventually(lambda: not is_alive(grandchild))


def test_a_child_that_ends_is_started_again(tmp_path: Path) -> None:
    """A service that ends runs again, each time after a longer pause, and each end is told."""
    note, lines = tmp_path / "runs", list[str]()
    program = f"open({str(note)!r}, 'a').write('x'); raise SystemExit(3)"
    with Supervisor(lines.append, backoff_seconds=0.01) as supervisor:
        supervisor.start(service("short", program))
        stop = threading.Event()
        runner = threading.Thread(target=supervisor.run, args=(stop,))
        runner.start()
        has_run = eventually(lambda: note.exists() and len(note.read_text()) >= 3)
        stop.set()
        runner.join()

    assert has_run
    assert "short: ended, exit code 3; starts again in 0.02 s" in lines


def test_a_child_that_may_end_is_left_ended() -> None:
    """A service without restart is not started again."""
    with Supervisor(lambda _line: None, backoff_seconds=0.0) as supervisor:
        supervisor.start(service("once", "pass", restart=False))
        ended = eventually(lambda: not supervisor.process_ids)
        supervisor.look()
        supervisor.look()

        assert ended
        assert {} == supervisor.process_ids


def test_a_child_that_dies_before_it_is_ready_is_named(tmp_path: Path) -> None:
    """The error says which service, how it ended and where its output is."""
    dead = service("server", "raise SystemExit(7)", ready=lambda: False, log_path=tmp_path / "server.log")
    with (
        Supervisor(lambda _line: None) as supervisor,
        pytest.raises(TokenmillError, match=r"server ended before it was ready, exit code 7; see .*server\.log"),
    ):
        supervisor.start(dead)


def test_a_child_that_is_never_ready_is_given_up() -> None:
    """The wait for a service has an end."""
    slow = service("slow", SLEEPER, ready=lambda: False, ready_seconds=0.1)
    with (
        Supervisor(lambda _line: None) as supervisor,
        pytest.raises(TokenmillError, match=r"slow was not ready after 0\.1 s"),
    ):
        supervisor.start(slow)


def test_a_program_that_is_not_there_is_one_line() -> None:
    """A missing program is an error with its name, not a traceback."""
    with (
        Supervisor(lambda _line: None) as supervisor,
        pytest.raises(TokenmillError, match="cannot start broker: /nowhere/broker"),
    ):
        supervisor.start(Service(name="broker", command=("/nowhere/broker",)))


def test_output_and_environment_go_where_they_were_sent(tmp_path: Path) -> None:
    """A child gets the variables of its service and prints into its log."""
    log = tmp_path / "logs" / "child.log"
    talker = service("talker", "import os; print(os.environ['WORD'])", environment={"WORD": "hello"}, log_path=log)
    with Supervisor(lambda _line: None) as supervisor:
        supervisor.start(talker)
        has_spoken = eventually(lambda: log.read_text() == "hello\n")

    assert has_spoken


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """Even SIGKILL of the supervisor leaves no child running."""
    note = tmp_path / "pid"
    program = f"""
import pathlib, sys, time
from tokenmill_pipeline.supervise import Service, Supervisor
supervisor = Supervisor(print)
supervisor.start(Service(name="sleeper", command=(sys.executable, "-c", {SLEEPER!r})))
pathlib.Path({str(note)!r}).write_text(str(supervisor.process_ids["sleeper"]))
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    assert eventually(lambda: note.exists() and bool(note.read_text()))
    parent.kill()
    parent.wait()

    assert eventually(lambda: not is_alive(int(note.read_text())))


def test_a_signal_sets_the_event() -> None:
    """SIGTERM asks for the end and does not end the process."""
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)

        assert eventually(stop.is_set)
    assert before == signal.getsignal(signal.SIGTERM)
