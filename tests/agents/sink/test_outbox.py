"""Messages wait in order and in bounds; every one that is given up is told."""

import threading
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.sink import outbox as module
from tokenmill_agent.sink.outbox import Outbox, Outgoing


class Bench:
    """An outbox and what it dropped."""

    def __init__(
        self,
        *,
        max_messages: int = 100,
        max_bytes: int = 1000,
        max_in_flight: int = 100,
        when_full: Literal["drop_oldest", "wait"] = "drop_oldest",
    ) -> None:
        self.dropped: list[tuple[bytes, str]] = []
        self.outbox = Outbox(
            max_messages=max_messages,
            max_bytes=max_bytes,
            max_in_flight=max_in_flight,
            when_full=when_full,
            dropped=lambda message, reason: self.dropped.append((message.value, reason)),
        )

    def put(self, *values: bytes) -> None:
        """Add messages."""
        for value in values:
            self.outbox.put("topic", "node", value, "live")

    def take(self) -> Outgoing:
        """Take one that is there."""
        message = self.outbox.take(0)
        assert message is not None
        return message


def test_messages_leave_in_the_order_in_which_they_came() -> None:
    """First in, first out, and None when there is none."""
    bench = Bench()
    bench.put(b"a", b"b")

    assert [b"a", b"b"] == [bench.take().value for _ in range(2)]
    assert None is bench.outbox.take(0)


def test_the_oldest_makes_room() -> None:
    """By bytes and by number, and each is told with its reason."""
    bytes_full, many_full = Bench(max_bytes=5), Bench(max_messages=2)
    bytes_full.put(b"aa", b"bb", b"cc")
    many_full.put(b"a", b"b", b"c")

    assert ([(b"aa", "queue_full")], 4) == (bytes_full.dropped, bytes_full.outbox.size_bytes)
    assert ([(b"a", "queue_full")], 2) == (many_full.dropped, many_full.outbox.messages)


def test_a_message_larger_than_the_box_is_dropped_itself() -> None:
    """After everything that waited made room in vain it is not kept either."""
    bench = Bench(max_bytes=3)
    bench.put(b"toolarge")

    assert ([(b"toolarge", "queue_full")], 0) == (bench.dropped, bench.outbox.messages)


def test_only_what_fills_more_than_half_overflows() -> None:
    """The oldest first, as in flight: it returns to its place where it could not be put elsewhere."""
    bench = Bench(max_bytes=8)
    bench.put(b"aa", b"bb", b"cc")
    first = bench.outbox.overflow()

    assert first is not None
    assert b"aa" == first.value

    bench.outbox.delivered(first)

    assert bench.outbox.overflow() is None


def test_what_is_in_flight_is_not_dropped() -> None:
    """It may have arrived: the newest goes where nothing waits."""
    bench = Bench(max_messages=1)
    bench.put(b"a")
    bench.take()
    bench.put(b"b")

    assert [(b"b", "queue_full")] == bench.dropped


def test_a_message_that_failed_returns_to_its_place() -> None:
    """It is older than what waits, so it is the next to leave."""
    bench = Bench()
    bench.put(b"a", b"b", b"c")
    first, second = bench.take(), bench.take()
    bench.outbox.again(second)
    bench.outbox.again(first)

    assert [b"a", b"b", b"c"] == [bench.take().value for _ in range(3)]


def test_only_so_many_are_in_flight() -> None:
    """The next one leaves when one has arrived."""
    bench = Bench(max_in_flight=1)
    bench.put(b"a", b"b")
    first = bench.take()

    assert None is bench.outbox.take(0)

    bench.outbox.delivered(first)

    assert b"b" == bench.take().value


def test_what_can_never_arrive_is_given_up_once() -> None:
    """A second word on the same message changes nothing."""
    bench = Bench()
    bench.put(b"a")
    message = bench.take()
    bench.outbox.give_up(message, "refused")
    bench.outbox.give_up(message, "refused")
    bench.outbox.delivered(message)

    assert ([(b"a", "refused")], 0) == (bench.dropped, bench.outbox.size_bytes)


def test_closing_drops_the_rest_and_says_how_much() -> None:
    """Waiting and in flight alike."""
    bench = Bench()
    bench.put(b"a", b"b")
    bench.take()

    assert 2 == bench.outbox.close("unsent_at_end")
    assert {(b"a", "unsent_at_end"), (b"b", "unsent_at_end")} == set(bench.dropped)


def test_it_is_empty_when_all_have_arrived() -> None:
    """Waiting for that ends in time where they do not."""
    bench = Bench()

    assert bench.outbox.wait_until_empty(0)

    bench.put(b"a")

    assert not bench.outbox.wait_until_empty(0)

    bench.outbox.delivered(bench.take())

    assert bench.outbox.wait_until_empty(0)


def test_a_box_that_waits_drops_nothing() -> None:
    """Who makes messages faster than they leave is held up until there is room."""
    bench = Bench(max_messages=1, when_full="wait")
    bench.put(b"a")
    thread = threading.Thread(target=bench.put, args=(b"b",), daemon=True)
    thread.start()
    bench.outbox.delivered(bench.take())
    thread.join(30)

    assert (b"b", []) == (bench.take().value, bench.dropped)


def test_a_box_that_waits_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the maker learns that nothing leaves."""
    monkeypatch.setattr(module, "WAIT_SECONDS_MAX", 0.05)
    bench = Bench(max_messages=1, when_full="wait")
    bench.put(b"a")
    with pytest.raises(TimeoutError):
        bench.put(b"b")


actions = st.lists(st.sampled_from(("put", "take", "arrive", "fail", "give_up")), max_size=60)


@given(actions, st.integers(1, 5), st.integers(1, 40))
def test_nothing_is_lost_without_being_told(todo: list[str], max_messages: int, max_bytes: int) -> None:
    """Every message arrived, was told as dropped, or is still there; the bounds hold at every moment."""
    bench = Bench(max_messages=max_messages, max_bytes=max_bytes, max_in_flight=2)
    arrived: list[bytes] = []
    flying: list[Outgoing] = []
    for number, action in enumerate(todo):
        if action == "put":
            bench.put(str(number).encode() * (number % 7 + 1))
        elif action == "take":
            flying.extend(message for message in [bench.outbox.take(0)] if message is not None)
        elif flying:
            _land(bench, flying.pop(0), action, arrived.append)

        assert bench.outbox.messages <= max_messages
        assert bench.outbox.size_bytes <= max_bytes
    left = bench.outbox.messages

    assert todo.count("put") == len(arrived) + len(bench.dropped) + left


def _land(bench: Bench, message: Outgoing, action: str, arrived: Callable[[bytes], None]) -> None:
    if action == "arrive":
        bench.outbox.delivered(message)
        arrived(message.value)
    elif action == "fail":
        bench.outbox.again(message)
    else:
        bench.outbox.give_up(message, "refused")
