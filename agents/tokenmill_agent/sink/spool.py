"""Keeps messages on disk while Kafka is away: append-only segments, bounded, oldest dropped first, safe to kill.

An entry is a header (CRC-32 and length of what follows), the lengths of topic and key, topic, key and the compressed
value. Each is on disk before `append` returns. A segment that ends in a torn entry is read up to there.
"""

import contextlib
import errno
import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tokenmill_agent.errors import TokenmillError

SEGMENT_BYTES: Final = 1024 * 1024

_HEADER: Final = struct.Struct("<II")
_LENGTHS: Final = struct.Struct("<HH")
_CURSOR: Final = struct.Struct("<QQI")
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_MAX_ENTRY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """One message from the spool, and where the next one begins."""

    topic: str
    key: str
    value: bytes
    segment: int
    end: int


@dataclass(slots=True, kw_only=True)
class _Segment:
    number: int
    path: Path
    size: int
    entries: int


class Spool:
    """A queue in a directory. One process at a time, any number of its threads."""

    def __init__(self, directory: Path, *, max_bytes: int, min_free_bytes: int, dropped: Callable[[int], None]) -> None:
        """Open the directory and find what an earlier run left; `dropped` is told how many entries made room.

        Raises:
            TokenmillError: the directory cannot be used, or another agent uses it.
        """
        self._directory = directory
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._dropped = dropped
        self._guard = threading.Lock()
        self._writer: BinaryIO | None = None
        self._closed = False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._segment, self._offset = self._read_cursor()
            self._segments = list(self._find_segments())
        except BlockingIOError:
            self._lock.close()
            raise TokenmillError(f"[agent] state_dir: another agent keeps its spool in {directory}") from None
        except OSError as error:
            raise TokenmillError(f"[agent] state_dir: cannot keep a spool in {directory}: {error.strerror}") from error

    @property
    def messages(self) -> int:
        """Return how many messages wait."""
        with self._guard:
            return sum(segment.entries for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        """Return how many bytes the segments have on disk."""
        with self._guard:
            return self._size()

    def append(self, topic: str, key: str, value: bytes) -> bool:
        """Keep a message; False where it does not fit after everything older made room, or cannot be written."""
        names = topic.encode(errors="replace"), key.encode(errors="replace")
        body = _LENGTHS.pack(*map(len, names)) + b"".join(names) + zlib.compress(value)
        with self._guard:
            while not self._closed:
                try:
                    if self._has_room(_HEADER.size + len(body)):
                        self._write(body)
                        return True
                except OSError as error:
                    if error.errno not in _NO_SPACE:
                        return False
                if not self._drop_oldest():
                    return False
            return False

    def oldest(self) -> Spooled | None:
        """Return the oldest message that was not acknowledged; None where the spool is empty."""
        with self._guard:
            while self._segments and not self._closed:
                segment = self._segments[0]
                if self._segment != segment.number:
                    self._segment, self._offset = segment.number, 0
                found = _read_entry(segment.path, self._offset)
                if found is not None:
                    return _spooled(found, segment.number, self._offset)
                # The end, or a torn entry: nothing behind it can be read.
                self._drop_oldest()
            return None

    def acknowledge(self, message: Spooled) -> None:
        """Forget a message that was delivered; it is never given out again, unless the node dies at this moment."""
        with self._guard:
            if self._closed or not self._segments or self._segments[0].number != message.segment:
                return
            self._segments[0].entries -= 1
            self._offset = message.end
            if self._offset >= self._segments[0].size:
                self._remove(self._segments[0])
            else:
                self._write_cursor()

    def close(self) -> None:
        """Leave the directory to the next run."""
        with self._guard:
            self._closed = True
            self._close_writer()
            self._lock.close()

    def _size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def _has_room(self, more_bytes: int) -> bool:
        status = os.statvfs(self._directory)
        free_bytes = status.f_bavail * status.f_frsize
        return self._size() + more_bytes <= self._max_bytes and free_bytes - more_bytes >= self._min_free_bytes

    def _write(self, body: bytes) -> None:
        """Append an entry and bring it to the disk.

        Raises:
            OSError: the disk does not take it; nothing of it is left.
        """
        writer = self._open_writer()
        segment = self._segments[-1]
        header = _HEADER.pack(zlib.crc32(body), len(body))
        try:
            writer.write(header + body)
            writer.flush()
            os.fdatasync(writer.fileno())
        except OSError:
            self._close_writer()
            # What was not written whole is cut off; a reader would stop at it anyway.
            with contextlib.suppress(OSError):
                os.truncate(segment.path, segment.size)
            raise
        segment.size += len(header) + len(body)
        segment.entries += 1

    def _open_writer(self) -> BinaryIO:
        if self._writer is not None and self._segments[-1].size < SEGMENT_BYTES:
            return self._writer
        self._close_writer()
        number = max((segment.number for segment in self._segments), default=self._segment) + 1
        path = self._directory / f"{number:012d}.segment"
        self._writer = path.open("ab")
        # Known before anything can fail: a file that nobody knows would never be removed.
        self._segments.append(_Segment(number=number, path=path, size=0, entries=0))
        _sync_directory(self._directory)
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            # Closing tries once more to write what a full disk did not take.
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None

    def _drop_oldest(self) -> bool:
        if not self._segments:
            return False
        if self._segments[0].entries:
            self._dropped(self._segments[0].entries)
        self._remove(self._segments[0])
        return True

    def _remove(self, segment: _Segment) -> None:
        if segment is self._segments[-1]:
            self._close_writer()
        self._segments.remove(segment)
        with contextlib.suppress(OSError):
            segment.path.unlink(missing_ok=True)
        # The next segment gets a higher number than any before, also after a restart.
        self._segment, self._offset = segment.number, 0
        if not self._segments:
            self._write_cursor()

    def _find_segments(self) -> Iterator[_Segment]:
        for path in sorted(self._directory.glob("*.segment")):
            if not path.stem.isdigit():
                continue
            number = int(path.stem)
            if number < self._segment:
                path.unlink()
                continue
            start = self._offset if number == self._segment else 0
            yield _Segment(number=number, path=path, size=path.stat().st_size, entries=_count_entries(path, start))

    def _read_cursor(self) -> tuple[int, int]:
        try:
            number, offset, crc = _CURSOR.unpack((self._directory / "cursor").read_bytes())
        except (FileNotFoundError, struct.error):
            return 0, 0
        return (number, offset) if crc == zlib.crc32(struct.pack("<QQ", number, offset)) else (0, 0)

    def _write_cursor(self) -> None:
        beside = self._directory / "cursor.tmp"
        place = struct.pack("<QQ", self._segment, self._offset)
        # A cursor that cannot be written costs a second sending of what it would have covered, which nobody counts.
        with contextlib.suppress(OSError):
            with beside.open("wb") as file:
                file.write(place + struct.pack("<I", zlib.crc32(place)))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._directory / "cursor")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_entry(path: Path, offset: int) -> bytes | None:
    """Return the body of the entry at an offset; None at the end of the segment and where it is torn."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            crc, length = _HEADER.unpack(file.read(_HEADER.size))
            if length > _MAX_ENTRY_BYTES:
                return None
            body = file.read(length)
    except (OSError, struct.error):
        return None
    return body if len(body) == length and zlib.crc32(body) == crc else None


def _spooled(body: bytes, segment: int, offset: int) -> Spooled:
    topic_length, key_length = _LENGTHS.unpack_from(body)
    topic_end = _LENGTHS.size + topic_length
    return Spooled(
        topic=body[_LENGTHS.size : topic_end].decode(),
        key=body[topic_end : topic_end + key_length].decode(),
        value=zlib.decompress(body[topic_end + key_length :]),
        segment=segment,
        end=offset + _HEADER.size + len(body),
    )


def _count_entries(path: Path, offset: int) -> int:
    """Return how many whole entries a segment has from an offset on, by their headers."""
    count, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while offset + _HEADER.size <= size:
            file.seek(offset)
            offset += _HEADER.size + _HEADER.unpack(file.read(_HEADER.size))[1]
            count += offset <= size
    return count
