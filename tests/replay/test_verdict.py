"""Tests of the comparison that the replay prints."""

import dataclasses

import pytest

from tests.replay.captures import Capture, Page
from tests.replay.expected import Tokens
from tests.replay.replay import Played
from tests.replay.verdict import Verdict, table, verdicts

TRUTH = Tokens(input=10, cached=None, output=5)
PAGE = Page(target="server", at_us=1, url_path="/metrics", status=200, content_type=None, text="", life=0)


def capture(**increases: dict[str, int]) -> Capture:
    """Return a capture with these truths by target."""
    return Capture(name="c", engine="", pages=dict.fromkeys(increases, (PAGE,)), increases=increases)


def judged(found: dict[str, Tokens], **increases: dict[str, int]) -> list[Verdict]:
    """Judge targets whose models are called c/target."""
    models = {target: f"c/{target}" for target in increases}
    return verdicts(capture(**increases), Played(models=models, addresses={}, watched_from_us=0, until_us=0), found)


@pytest.mark.parametrize(
    ("found", "is_equal"),
    [
        (Tokens(input=10, cached=3, output=5), True),
        (Tokens(input=10, cached=None, output=4), False),
        (Tokens(input=None, cached=None, output=None), False),
    ],
)
def test_what_the_truth_tells_must_be_found(found: Tokens, is_equal: bool) -> None:
    """A number that differs or is missing fails; what the truth does not tell is not compared."""
    assert is_equal == Verdict(server="s", found=found, expected=TRUTH).is_equal


def test_truth_of_cached_input_is_added_where_the_engine_leaves_it_out() -> None:
    """Input of a llama.cpp server is what it evaluated and what it reused."""
    truth = {"llamacpp:prompt_tokens_total": 7, "llamacpp:prompt_tokens_cached_total": 3}

    (verdict,) = judged({"c/server": Tokens(input=10, cached=3, output=None)}, server=truth)

    assert verdict.is_equal


def test_counters_of_an_engine_without_a_table_fail() -> None:
    """What nobody counts is a failure with its reason, not a server left out."""
    (verdict,) = judged({}, server={"other_tokens_total": 5})

    assert "no engine's table" in verdict.words


def test_a_target_without_tokens_has_no_verdict() -> None:
    """A worker that counts requests only has no tokens to compare."""
    assert [] == judged({}, worker={"requests_total": 5})


def test_table_is_readable() -> None:
    """Every server has one line with both sides and the verdict."""
    results = [
        Verdict(server="c/server", found=TRUTH, expected=TRUTH),
        Verdict(server="c/x", found=dataclasses.replace(TRUTH, input=12345), expected=TRUTH),
    ]

    assert [
        "server    mart: input  cached  output  pages: input  cached  output  verdict",
        "c/server           10       -       5            10       -       5  equal",
        "c/x            12,345       -       5            10       -       5  FAILED",
    ] == table(results).splitlines()
