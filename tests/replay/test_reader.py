"""Tests of the small reader that the replay is compared with, by messages made by hand."""

import dataclasses

from tests.agents.placement.rows import server_at
from tests.replay.expected import Tokens
from tests.replay.reader import read_tokens
from tokenmill_agent.records import Identity, Series, TokenCountersMessage, TokenSamples

WATCHED_US = 1_000


def message(
    *looks: tuple[int, int | None, int | None, str | None], started_at_us: int | None = 0, includes_cached: bool = True
) -> TokenCountersMessage:
    """Return a message of one series: time, input, output and reason of each look, 5 input tokens cached."""
    samples = TokenSamples()
    for at_us, given, output, reason in looks:
        row = dict.fromkeys(TokenSamples.__slots__)
        row |= {"series": 0, "sampled_at_us": at_us, "monotonic_us": at_us, "reason": reason}
        row |= {"input_tokens": given, "output_tokens": output, "cached_input_tokens": 5 if given else None}
        for name, value in row.items():
            getattr(samples, name).append(value)
    server = server_at(8000, started_at_us=started_at_us)
    return TokenCountersMessage(
        schema_version=1,
        kind="token-counters",
        node="n1",
        run_id="r",
        sequence=0,
        previous_run_id=None,
        previous_last_sequence=None,
        boot_id="b",
        sent_at_us=0,
        clock="driven",
        agent_version="0",
        driver_version=None,
        nvml_generation=0,
        simulated=True,
        gpu_count_expected=None,
        identity=Identity(),
        servers=[dataclasses.replace(server, input_includes_cached=includes_cached)],
        series=[Series(server=0, rank=0)],
        samples=samples,
    )


def tokens(*messages: TokenCountersMessage) -> Tokens:
    """Read one server."""
    (found,) = read_tokens(messages, watched_from_us=WATCHED_US).values()
    return found


def test_counts_increases_in_order_of_time() -> None:
    """The first look of a process that was there before is a baseline; order of messages does not matter."""
    first, second = message((2_000, 10, 1, None)), message((3_000, 14, 4, None))

    assert Tokens(input=4, cached=0, output=3) == tokens(second, first)


def test_counts_a_process_that_began_while_watched_from_zero() -> None:
    """A new process life counts in full, beside the one before it."""
    lives = [message((2_000, 10, 1, None)), message((9_000, 7, 2, None), started_at_us=8_000)]

    assert Tokens(input=7, cached=5, output=2) == tokens(*lives)


def test_counts_a_counter_that_appears_late_from_zero() -> None:
    """A counter that an earlier look at the same process lacked counts in full."""
    assert Tokens(input=9, cached=5, output=0) == tokens(
        message((2_000, None, 3, "series_absent"), (3_000, 9, 3, None))
    )


def test_failed_looks_and_falls_count_nothing() -> None:
    """A look that failed is no look, and a fall inside one process takes nothing back."""
    looks = [(2_000, 10, 5, None), (3_000, None, None, "scrape_failed"), (4_000, 8, 5, None), (5_000, 9, 6, None)]

    assert Tokens(input=1, cached=0, output=1) == tokens(message(*looks))


def test_adds_cached_input_where_the_engine_leaves_it_out() -> None:
    """Input includes what came from the cache, whatever the engine counts."""
    lives = message((9_000, 7, 2, None), started_at_us=8_000, includes_cached=False)

    assert Tokens(input=12, cached=5, output=2) == tokens(lives)
