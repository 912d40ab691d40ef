"""Ingests a file of messages, one a line; the same content again, whatever its name, lands nothing."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.decode import RawMessage
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.lander import IngestReport, Lander, OnProgress
from tokenmill_pipeline.landing import OffsetRange, stored_heads
from tokenmill_pipeline.landing_write import now_us
from tokenmill_pipeline.locks import hold
from tokenmill_pipeline.seal import maintain

_CHUNK_BYTES: Final = 1024 * 1024


def ingest_file(
    landing_dir: Path, path: Path, settings: IngestSettings, *, on_progress: OnProgress = lambda _report: None
) -> IngestReport:
    """Land the messages of a file, from where an earlier run stopped; call `on_progress` after each slice.

    The file counts as the topic `file:<sha256>` and its lines as offsets, so that rows and progress commit together
    here as well. An empty line is skipped.

    Raises:
        UsageError: the file cannot be read.
        TokenmillError: it is being ingested already, or the landing cannot be written.
    """
    try:
        with path.open("rb") as handle:
            size_bytes = os.fstat(handle.fileno()).st_size
            digest = _digest(handle, size_bytes)
            handle.seek(0)
            with hold(landing_dir / "locks" / f"file-{digest}.lock", wait=False) as held:
                if not held:
                    raise TokenmillError(f"{path} is being ingested by another process: wait until it is done")
                lines = _lines(handle, size_bytes, settings.limits.message_bytes_max)
                report = _ingest(landing_dir, lines, digest, settings, on_progress)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    maintain(landing_dir, settings)
    return report


def _ingest(
    landing_dir: Path, lines: Iterator[bytes], digest: str, settings: IngestSettings, on_progress: OnProgress
) -> IngestReport:
    topic = f"file:{digest}"
    head = stored_heads(landing_dir).get((topic, 0))
    first = done = head.next_offset if head else 0
    lander = Lander(landing_dir, settings, source=topic)
    lander.after(head.landed_at_us if head else 0)

    def cut(upto: int) -> int:
        lander.cut([OffsetRange(topic=topic, partition=0, topic_id=None, first_offset=first, next_offset=upto)])
        on_progress(lander.report())
        return upto

    for number, line in enumerate(lines):
        if number < done:
            continue
        done = number + 1
        if line:
            lander.add(
                RawMessage(
                    value=line, topic=topic, partition=0, offset=number, appended_at_us=now_us(), delivery="file"
                )
            )
        if lander.full:
            first = cut(done)
    cut(done)
    return lander.report()


def _digest(handle: BinaryIO, size_bytes: int) -> str:
    digest = hashlib.sha256()
    while chunk := handle.read(min(_CHUNK_BYTES, size_bytes)):
        digest.update(chunk)
        size_bytes -= len(chunk)
    return digest.hexdigest()


def _lines(handle: BinaryIO, size_bytes: int, bytes_max: int) -> Iterator[bytes]:
    """Yield every line without its end, one that is too long cut to just over the bound, so that it is refused.

    What was appended to the file since its digest was taken is not read: it would land again under the next digest.
    """
    while (left := size_bytes - handle.tell()) > 0:
        line = rest = handle.readline(min(bytes_max + 2, left))
        while not rest.endswith(b"\n") and (left := size_bytes - handle.tell()) > 0:
            rest = handle.readline(min(_CHUNK_BYTES, left))
        yield line.strip()
