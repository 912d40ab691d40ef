"""`python -m tests.replay DIR [DIR...]`: plays captures of real servers through agent, Kafka, ingest and build.

Every directory holds `capture.jsonl` and `truth.json`; a directory of such directories stands for all of them. Printed
per server: the tokens in the published mart, those that a perfect reader of the pages gets, and whether they are equal.
The last line is `N passed, M failed`; the exit status is 1 if any failed.
"""

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.replay.captures import Capture, CaptureError, read_capture
from tests.replay.marts import build_and_publish, published_tokens
from tests.replay.replay import play
from tests.replay.transport import FileTransport, Transport, any_kafka
from tests.replay.verdict import Verdict, table, verdicts
from tokenmill_agent.errors import TokenmillError


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay what the command line names; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("tokenmill_agent").setLevel(logging.ERROR)
    try:
        captures = [read_capture(folder) for folder in _folders(options.directories)]
        with _folder(options.keep) as folder, _transport(options, folder) as transport:
            results = _replay(captures, transport, folder)
    except (CaptureError, TokenmillError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(results))
    failed = sum(not result.is_equal for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument(
        "directories", nargs="+", type=Path, metavar="DIR", help="a capture, or a directory of captures"
    )
    parser.add_argument("--file", action="store_true", help="send messages by a file instead of Kafka")
    parser.add_argument(
        "--kafka",
        metavar="HOST:PORT",
        default=os.environ.get("TOKENMILL_TEST_KAFKA"),
        help="use this broker (default: TOKENMILL_TEST_KAFKA, else one is started)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep landing, warehouse and published file in DIR")
    return parser


def _folders(given: Sequence[Path]) -> list[Path]:
    folders = []
    for folder in given:
        inside = sorted(path.parent for path in folder.glob("*/capture.jsonl"))
        folders += inside if inside and not (folder / "capture.jsonl").exists() else [folder]
    return folders


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="tokenmill-replay-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _transport(options: argparse.Namespace, folder: Path) -> Iterator[Transport]:
    if options.file:
        yield FileTransport(folder / "messages.jsonl")
        return
    with any_kafka(folder, options.kafka) as transport:
        yield transport


def _replay(captures: Sequence[Capture], transport: Transport, folder: Path) -> list[Verdict]:
    started = time.monotonic()
    played = [(capture, play(capture, transport.sink, transport.kafka)) for capture in captures]
    _say(f"played {len(played)} captures to the agent", started)
    transport.land(folder / "landing")
    _say(f"landed its messages through {transport.name}", started)
    path = build_and_publish(folder, max(one.until_us for _, one in played))
    _say("built and published the hours", started)
    found = published_tokens(path)
    return [verdict for capture, one in played for verdict in verdicts(capture, one, found)]


def _say(what: str, started: float) -> None:
    print(f"{time.monotonic() - started:6.1f} s  {what}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
