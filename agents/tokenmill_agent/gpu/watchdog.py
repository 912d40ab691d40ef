"""A thread that runs jobs which may never return, so that whoever waits for them need not."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Watchdog(Generic[T]):
    """Runs one job at a time. While a job hangs, no other is taken; the thread never holds up the process's end."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._jobs: queue.SimpleQueue[tuple[Callable[[], T], Future[T]] | None] = queue.SimpleQueue()
        self._running: Future[T] | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """Say whether the last job has not returned yet."""
        return self._running is not None and not self._running.done()

    def start(self, job: Callable[[], T]) -> "Future[T] | None":
        """Begin `job`; None where the one before still hangs."""
        if self.hangs:
            return None
        self._running = Future()
        self._jobs.put((job, self._running))
        return self._running

    def close(self) -> None:
        """End the thread once its job returns; does not wait for it."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - handed on: whoever waits for the job raises it
                future.set_exception(error)
