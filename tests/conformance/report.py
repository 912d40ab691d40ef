"""Prints results: a line a figure, a line a kind, and how many cases passed."""

import dataclasses
import json
from collections.abc import Sequence

from tests.conformance.verdict import Result

HEAD = ("case", "figure", "expected", "got", "verdict")
CELL_WIDTH = 70
"""Longer texts, which are errors, push what follows them to the right."""


def table(results: Sequence[Result]) -> str:
    """Return every line of every case as text."""
    rows = [
        (line.case, line.figure, line.expected, line.got, "equal" if line.passed else "FAILED")
        for result in results
        for line in result.lines
    ]
    return _aligned([HEAD, *rows])


def by_kind(results: Sequence[Result]) -> list[tuple[str, int, int]]:
    """Return each kind, how many of its cases passed, and how many there are."""
    kinds = dict.fromkeys(result.kind for result in results)
    of = {kind: [result.passed for result in results if result.kind == kind] for kind in kinds}
    return [(kind, sum(passed), len(passed)) for kind, passed in of.items()]


def kinds_table(results: Sequence[Result]) -> str:
    """Return a line a kind: how many of its cases passed."""
    return _aligned([("kind", "passed"), *((kind, f"{passed}/{total}") for kind, passed, total in by_kind(results))])


def as_json(results: Sequence[Result]) -> str:
    """Return everything for a machine."""
    failed = sum(not result.passed for result in results)
    return json.dumps(
        {
            "passed": len(results) - failed,
            "failed": failed,
            "kinds": [{"kind": kind, "passed": passed, "total": total} for kind, passed, total in by_kind(results)],
            "cases": [{**dataclasses.asdict(result), "passed": result.passed} for result in results],
        },
        indent=2,
        ensure_ascii=False,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [min(CELL_WIDTH, max(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
