"""Plays real captures to the agent and compares the messages with what a perfect reader of the pages gets."""

from pathlib import Path

import pytest

from tests.replay.captures import read_capture
from tests.replay.collected import CollectingSink
from tests.replay.expected import Tokens, expected_tokens
from tests.replay.reader import read_tokens
from tests.replay.replay import play

CAPTURES = Path(__file__).parents[3] / "shared" / "data" / "captures"
COUNTED = sorted(path.parent.name for path in CAPTURES.glob("*/capture.jsonl"))

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not beside this checkout")


@pytest.mark.parametrize("name", COUNTED)
def test_messages_hold_every_token_that_the_pages_showed(name: str) -> None:
    """Restarts, closed ports, pages of a loading server and counters that appear late lose and double nothing."""
    capture = read_capture(CAPTURES / name)
    sink = CollectingSink()

    played = play(capture, sink)

    found = read_tokens(sink.token_counters, watched_from_us=played.watched_from_us)
    expected = expected_tokens(capture)
    assert expected
    assert expected == {target: found[played.addresses[target]] for target in expected}


def test_openmetrics_gives_the_same_tokens() -> None:
    """The collectors of SGLang, asked for OpenMetrics too, count the same under other spellings."""
    sink = CollectingSink()

    played = play(read_capture(CAPTURES / "sglang_collectors_unified"), sink)

    found = read_tokens(sink.token_counters, watched_from_us=played.watched_from_us)
    plain, negotiated = (found[played.addresses[target]] for target in ("unified", "unified-openmetrics"))
    assert Tokens(input=21_331, cached=5579, output=2878) == plain == negotiated


def test_only_the_front_end_of_dynamo_is_counted() -> None:
    """Its workers, which have no token counters, are no servers on the wire: their tokens are the front end's."""
    sink = CollectingSink()

    played = play(read_capture(CAPTURES / "dynamo_aggregated_restarts"), sink)

    found = read_tokens(sink.token_counters, watched_from_us=played.watched_from_us)
    assert {played.addresses["frontend"]: Tokens(input=10_608, cached=4944, output=11_302)} == found


def test_a_killed_server_leaves_its_gpu_empty() -> None:
    """While the recorded port was closed the GPU is empty, before and after it is held by the server's process."""
    sink = CollectingSink()

    play(read_capture(CAPTURES / "llamacpp_gemma270m_restart"), sink)

    seen = [(row.basis, row.process_started_at_us) for message in sink.gpu_power for row in message.placements]
    bases = [basis for basis, _ in dict.fromkeys(seen)]
    assert ["process", "empty", "process"] == bases


def test_messages_say_that_they_are_replayed_and_simulated() -> None:
    """Nobody can take a replay for a fleet: the clock is driven and the GPUs are simulated."""
    sink = CollectingSink()

    play(read_capture(CAPTURES / "vllm_rust_frontend"), sink)

    assert {("driven", True)} == {(message.clock, message.simulated) for message in sink.token_counters}
