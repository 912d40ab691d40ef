"""Messages as lines of a stream or a file."""

import io
from pathlib import Path

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.sink.stdout import LineSink


def test_each_message_is_one_line() -> None:
    """In the order in which they were sent, flushed at once."""
    stream = io.BytesIO()
    sink = LineSink(stream)
    sink.send("topic", "node", b'{"a":1}', "live")
    sink.send("other", "node", b'{"b":2}', "live")

    assert b'{"a":1}\n{"b":2}\n' == stream.getvalue()
    assert 0 == sink.close(0)


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    """A second run adds its lines to the first's."""
    for text in (b"1", b"2"):
        sink = LineSink.file(tmp_path / "messages.jsonl")
        sink.send("topic", "node", text, "live")
        sink.close(0)

    assert b"1\n2\n" == (tmp_path / "messages.jsonl").read_bytes()


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """One line with the path."""
    with pytest.raises(TokenmillError, match=r"cannot write messages to .*nothing/m: No such file"):
        LineSink.file(tmp_path / "nothing" / "m")


def test_a_full_disk_is_one_line() -> None:
    """What cannot be written is an error that names where, not a loss."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        sink = LineSink(full, name="/dev/full")
        with pytest.raises(TokenmillError, match="cannot write messages to /dev/full: No space left"):
            sink.send("topic", "node", b"1", "live")
