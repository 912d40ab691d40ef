"""The reference pages beside this checkout, modelled on servers or recorded from them, and how tests count them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent.servers.counters import PageCounts, count_page

DATA = Path(__file__).parents[4] / "shared" / "data"

pages_exist = pytest.mark.skipif(not DATA.is_dir(), reason="the reference pages are not beside this checkout")


def values(counts: PageCounts, rank: int = 0) -> dict[str, int | float | None]:
    """Return field and value of one rank."""
    return {field: counted.value for field, counted in counts.ranks[rank].items()}


def tokens(page: str, rank: int = 0) -> list[int | float | None]:
    """Return input, cached input and output that a page counts, None for what it lacks."""
    counted = values(count_page(page), rank)
    return [counted.get(field) for field in ("input_tokens", "cached_input_tokens", "output_tokens")]


def exposition(name: str) -> str:
    """Return one of the pages that are modelled on real servers."""
    return (DATA / "expositions" / name).read_text(encoding="utf-8")


def last_page(capture: str, target: str) -> dict[str, Any]:
    """Return the last page that a target of a capture gave, with its content type."""
    lines = (DATA / "captures" / capture / "capture.jsonl").read_text(encoding="utf-8").splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [record for record in records if record["status"] == 200 and record["target"] == target][-1]
