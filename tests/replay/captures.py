"""A directory of captures: the pages that real servers gave, in rounds, and the truth that stands beside them."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenmill_agent.servers.counters import PageCounts, count_page
from tokenmill_agent.servers.engines import CORE_FIELDS
from tokenmill_agent.servers.exposition import PageError


class CaptureError(Exception):
    """A directory that is no capture; the message names the file."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a target gave at one moment; status 0 where nobody answered. `life` counts the target's process lives."""

    target: str
    at_us: int
    url_path: str
    status: int
    content_type: str | None
    text: str
    life: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """All pages of one directory by target, each in order of time, and what its truth says that a reader gets."""

    name: str
    engine: str
    pages: Mapping[str, tuple[Page, ...]]
    increases: Mapping[str, Mapping[str, int]]

    def rounds(self) -> Iterator[dict[str, Page]]:
        """Yield what was seen together: the pages of one sweep over the targets, each target once at most."""
        together: dict[str, Page] = {}
        for page in sorted((page for pages in self.pages.values() for page in pages), key=lambda page: page.at_us):
            if page.target in together:
                yield together
                together = {}
            together[page.target] = page
        if together:
            yield together


def read_capture(folder: Path) -> Capture:
    """Return the capture in `folder`.

    Raises:
        CaptureError: `capture.jsonl` or `truth.json` is missing or cannot be read.
    """
    records = [_parsed(folder / "capture.jsonl", line) for line in _text(folder / "capture.jsonl").splitlines() if line]
    truth = _parsed(folder / "truth.json", _text(folder / "truth.json"))
    by_target: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: int(record["scraped_at_us"])):
        by_target.setdefault(record["target"], []).append(record)
    return Capture(
        name=folder.name,
        engine=str(truth.get("engine", "")),
        pages={target: tuple(_pages(of_target)) for target, of_target in by_target.items()},
        increases={
            target: {metric: int(of_metric["increase_seen_by_scraping"]) for metric, of_metric in metrics.items()}
            for target, metrics in truth["counters_at_the_end_of_each_process_life"].items()
        },
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CaptureError(f"cannot read {path}: {error.strerror}") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise CaptureError(f"{path} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise CaptureError(f"{path}: expected an object, got {text[:60]!r}")
    return parsed


def _pages(records: list[dict[str, Any]]) -> Iterator[Page]:
    life = -1
    is_down = True
    previous: PageCounts | None = None
    for record in records:
        counts = _counts(record)
        if record["status"] == 0:
            is_down, previous = True, None
        elif is_down or _began_anew(previous, counts):
            is_down = False
            life += 1
        yield Page(
            target=record["target"],
            at_us=int(record["scraped_at_us"]),
            url_path=record["url_path"],
            status=int(record["status"]),
            content_type=record["content_type"],
            text=record["text"] or "",
            life=max(life, 0),
        )
        previous = counts or previous


def _counts(record: Mapping[str, Any]) -> PageCounts | None:
    try:
        return count_page(record["text"] or "", content_type=record["content_type"])
    except PageError:
        return None


def _began_anew(previous: PageCounts | None, counts: PageCounts | None) -> bool:
    """Say whether a process took another's place between two scrapes: its start differs, or a counter fell."""
    if previous is None or counts is None:
        return False
    if previous.process_started_at_us != counts.process_started_at_us:
        return True
    for rank, fields in previous.ranks.items():
        for field in CORE_FIELDS:
            before, now = fields.get(field), counts.ranks.get(rank, {}).get(field)
            if before is not None and now is not None and (now.value or 0) < (before.value or 0):
                return True
    return False
