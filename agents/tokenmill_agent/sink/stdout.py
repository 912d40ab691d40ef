"""Writes messages to a stream or a file, one a line: what `tokenmill ingest --file` reads."""

import sys
from pathlib import Path
from typing import BinaryIO

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.sink import Delivery


class LineSink:
    """Writes each message as one line and flushes it."""

    def __init__(self, stream: BinaryIO, *, name: str = "standard output", owned: bool = False) -> None:
        """Write to `stream`, and close it at the end where it is `owned`."""
        self._stream = stream
        self._name = name
        self._owned = owned

    @classmethod
    def stdout(cls) -> "LineSink":
        """Return a sink on standard output."""
        return cls(sys.stdout.buffer)

    @classmethod
    def file(cls, path: Path) -> "LineSink":
        """Return a sink that appends to a file.

        Raises:
            TokenmillError: the file cannot be opened.
        """
        try:
            return cls(path.open("ab"), name=str(path), owned=True)
        except OSError as error:
            raise TokenmillError(f"cannot write messages to {path}: {error.strerror}") from error

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:  # noqa: ARG002 - a line says it all
        """Write one message.

        Raises:
            TokenmillError: the stream is closed or its disk is full.
        """
        try:
            self._stream.write(value + b"\n")
            self._stream.flush()
        except OSError as error:
            raise TokenmillError(f"cannot write messages to {self._name}: {error.strerror}") from error

    def close(self, timeout_seconds: float) -> int:  # noqa: ARG002 - nothing waits
        """Close the stream where it is the sink's own; everything has been delivered."""
        if self._owned:
            self._stream.close()
        return 0
