"""A small reader of token-counters messages, independent of the pipeline: increases by the rules, nothing else.

Rules: samples of a series in order of monotonic time; a value that is missing is no value; a fall inside one process
is set aside; the first value of a counter counts in full if the process began while its node was watched or an earlier
successful look at the same process lacked the counter, and is a baseline otherwise.
"""

import dataclasses
from collections.abc import Iterable

from tests.replay.expected import Tokens
from tokenmill_agent.records import Server, TokenCountersMessage
from tokenmill_agent.servers.scrape import SCRAPE_FAILED

_FIELDS = ("input_tokens", "cached_input_tokens", "output_tokens")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One successful look at one rank of one process life."""

    server: Server
    rank: int
    monotonic_us: int
    values: dict[str, int | None]


def read_tokens(messages: Iterable[TokenCountersMessage], *, watched_from_us: int) -> dict[str, Tokens]:
    """Return the tokens of each server by its address; `watched_from_us` is when its node was first heard of."""
    looks = sorted((look for message in messages for look in _looks(message)), key=lambda look: look.monotonic_us)
    totals: dict[str, dict[str, int | None]] = {}
    last: dict[tuple[str, int, str], int] = {}
    seen: set[str] = set()
    servers: dict[str, Server] = {}
    for look in looks:
        server = look.server
        servers[server.address] = server
        began_watched = server.process_started_at_us is not None and server.process_started_at_us >= watched_from_us
        from_zero = began_watched or server.server_id in seen
        total = totals.setdefault(server.address, dict.fromkeys(_FIELDS))
        for field, value in look.values.items():
            if value is None:
                continue
            before = last.get((server.server_id, look.rank, field), 0 if from_zero else value)
            total[field] = (total[field] or 0) + max(0, value - before)
            last[server.server_id, look.rank, field] = value
        seen.add(server.server_id)
    return {address: _tokens(servers[address], total) for address, total in totals.items()}


def _tokens(server: Server, total: dict[str, int | None]) -> Tokens:
    given, cached = total["input_tokens"], total["cached_input_tokens"]
    if given is not None and not server.input_includes_cached:
        given += cached or 0
    return Tokens(input=given, cached=cached, output=total["output_tokens"])


def _looks(message: TokenCountersMessage) -> Iterable[_Look]:
    samples = message.samples
    for row, index in enumerate(samples.series):
        if samples.reason[row] != SCRAPE_FAILED:
            series = message.series[index]
            yield _Look(
                server=message.servers[series.server],
                rank=series.rank,
                monotonic_us=samples.monotonic_us[row],
                values={field: getattr(samples, field)[row] for field in _FIELDS},
            )
