"""A thread whose job may hang."""

import threading

import pytest

from tokenmill_agent.gpu.watchdog import Watchdog


def test_a_job_gives_its_result() -> None:
    """Who waits gets what the job returned."""
    watchdog: Watchdog[int] = Watchdog("test")
    future = watchdog.start(lambda: 7)

    assert future is not None
    assert 7 == future.result(timeout=30)
    watchdog.close()


def test_a_job_that_fails_raises_where_it_is_waited_for() -> None:
    """The thread goes on."""
    watchdog: Watchdog[float] = Watchdog("test")
    failed = watchdog.start(lambda: 1 / 0)

    assert failed is not None
    with pytest.raises(ZeroDivisionError):
        failed.result(timeout=30)
    again = watchdog.start(lambda: 2.0)

    assert again is not None
    assert 2.0 == again.result(timeout=30)
    watchdog.close()


def test_no_job_is_taken_while_one_hangs() -> None:
    """The next one is refused at once, and taken when the first has returned."""
    watchdog: Watchdog[bool] = Watchdog("test")
    released = threading.Event()
    hanging = watchdog.start(lambda: released.wait(60))

    assert watchdog.hangs
    assert None is watchdog.start(lambda: True)

    released.set()

    assert hanging is not None
    assert hanging.result(timeout=30)
    assert not watchdog.hangs
    assert watchdog.start(lambda: True) is not None
    watchdog.close()
