"""What a perfect reader of a capture's pages gets, in the fields of the wire."""

import dataclasses
from collections.abc import Mapping

from tests.replay.captures import Capture
from tokenmill_agent.servers.engines import CORE_FIELDS, TABLES, EngineTable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of one server over the whole capture. `input` includes what came from the cache; None is not known."""

    input: int | None
    cached: int | None
    output: int | None


def expected_tokens(capture: Capture) -> dict[str, Tokens]:
    """Return the truth of every target whose truth names an input or output counter of some engine's table."""
    expected = {}
    for target, increases in capture.increases.items():
        table = max(TABLES, key=lambda table: _matches(table, increases))
        if any(name in increases for field in CORE_FIELDS for name in table.counters[field]):
            expected[target] = _tokens(table, increases)
    return expected


def _matches(table: EngineTable, increases: Mapping[str, int]) -> int:
    return sum(name in increases for names in table.counters.values() for name in names)


def _tokens(table: EngineTable, increases: Mapping[str, int]) -> Tokens:
    def increase(*names: str) -> int | None:
        return next((increases[name] for name in names if name in increases), None)

    given = increase(*table.counters["input_tokens"])
    cached = increase(*table.counters.get("cached_input_tokens", ()))
    if not table.input_includes_cached and given is not None:
        given += cached or 0
    return Tokens(input=given, cached=cached, output=increase(*table.counters["output_tokens"]))
