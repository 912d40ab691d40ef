"""Locks of the operating system on files: the kernel frees them however their process ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tokenmill_agent.errors import TokenmillError


@contextlib.contextmanager
def hold(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on `path` (made where it is missing) and yield True; yield False where `wait` is off and it is taken.

    Two holds exclude each other unless both are shared, also within one process.

    Raises:
        TokenmillError: the file cannot be made or opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise TokenmillError(
            f"cannot open the lock {path}: {error.strerror}; check the rights of its folder"
        ) from error
    try:
        yield _lock(descriptor, shared=shared, wait=wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, shared: bool, wait: bool) -> bool:
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation if wait else operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
