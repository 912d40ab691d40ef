"""Holds what the published mart says of each server against what a perfect reader of its pages gets."""

import dataclasses
from collections.abc import Mapping, Sequence

from tests.replay.captures import Capture
from tests.replay.expected import Tokens, expected_tokens
from tests.replay.replay import Played

UNKNOWN = Tokens(input=None, cached=None, output=None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One server: what was found, what is expected (None where no engine's table has its counters)."""

    server: str
    found: Tokens
    expected: Tokens | None

    @property
    def is_equal(self) -> bool:
        """Say whether everything that is expected was found; what the truth does not tell is not compared."""
        if self.expected is None:
            return False
        pairs = zip(dataclasses.astuple(self.found), dataclasses.astuple(self.expected), strict=True)
        return all(expected is None or found == expected for found, expected in pairs)

    @property
    def words(self) -> str:
        """Return the verdict as a person reads it."""
        if self.expected is None:
            return "FAILED: no engine's table has the counters of its truth"
        return "equal" if self.is_equal else "FAILED"


def verdicts(capture: Capture, played: Played, found: Mapping[str, Tokens]) -> list[Verdict]:
    """Return the verdict of each server of `capture` whose truth tells tokens that it counted."""
    expected = expected_tokens(capture)
    return [
        Verdict(
            server=played.models[target],
            found=found.get(played.models[target], UNKNOWN),
            expected=expected.get(target),
        )
        for target, increases in capture.increases.items()
        if target in capture.pages and any("tokens" in metric for metric in increases)
    ]


def table(results: Sequence[Verdict]) -> str:
    """Return the verdicts as text, one line a server: input, cached and output in the mart and by the pages."""
    head = ("server", "mart: input", "cached", "output", "pages: input", "cached", "output", "verdict")
    rows = [head, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column in (0, len(head) - 1) else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(result: Verdict) -> tuple[str, ...]:
    values = [*dataclasses.astuple(result.found), *dataclasses.astuple(result.expected or UNKNOWN)]
    return (result.server, *("-" if value is None else f"{value:,}" for value in values), result.words)
