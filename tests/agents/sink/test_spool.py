"""Messages on disk: in order, in bounds, and there after a kill."""

import errno
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.sink import spool as module
from tokenmill_agent.sink.spool import Spool

APPENDER = """
import sys
from pathlib import Path
from tokenmill_agent.sink.spool import Spool

spool = Spool(Path(sys.argv[1]), max_bytes=10**9, min_free_bytes=0, dropped=lambda count: None)
for number in range(10**6):
    spool.append("topic", "node", str(number).encode())
    print(number, flush=True)
"""


class Bench:
    """A spool that may be closed and opened again, and what it dropped."""

    def __init__(self, directory: Path, *, max_bytes: int = 10**9, min_free_bytes: int = 0) -> None:
        self.directory = directory
        self.dropped = 0
        self._bounds = (max_bytes, min_free_bytes)
        self.spool = self.open()

    def open(self) -> Spool:
        """Open the directory as the next run does."""

        def dropped(count: int) -> None:
            self.dropped += count

        self.spool = Spool(self.directory, max_bytes=self._bounds[0], min_free_bytes=self._bounds[1], dropped=dropped)
        return self.spool

    def put(self, *values: bytes) -> bool:
        """Append messages; return whether all were kept."""
        return all(self.spool.append("topic", "node", value) for value in values)

    def drain(self, limit: int = 10**6) -> list[bytes]:
        """Take messages as if each was delivered."""
        found: list[bytes] = []
        while len(found) < limit and (message := self.spool.oldest()) is not None:
            found.append(message.value)
            self.spool.acknowledge(message)
        return found

    def segments(self) -> list[Path]:
        """Return the files of the spool."""
        return sorted(self.directory.glob("*.segment"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return an empty spool."""
    bench = Bench(tmp_path / "spool")
    yield bench
    bench.spool.close()


def test_messages_come_back_whole_and_in_order(bench: Bench) -> None:
    """With topic and key; an empty spool has nothing and leaves no file."""
    bench.put(b"1", b"", b"3" * 100_000)
    first = bench.spool.oldest()

    assert first is not None
    assert ("topic", "node", b"1") == (first.topic, first.key, first.value)
    assert 3 == bench.spool.messages
    assert [b"1", b"", b"3" * 100_000] == bench.drain()
    assert (0, 0, []) == (bench.spool.messages, bench.spool.size_bytes, bench.segments())


def test_a_message_stays_until_it_is_acknowledged(bench: Bench) -> None:
    """Asking twice gives it twice."""
    bench.put(b"1")

    assert bench.spool.oldest() == bench.spool.oldest() is not None


def test_the_next_run_goes_on_where_this_one_ended(bench: Bench) -> None:
    """What was acknowledged is not given out again, what was not is."""
    bench.put(b"1", b"2", b"3")
    bench.drain(1)
    bench.spool.close()
    bench.open()
    bench.put(b"4")

    assert 3 == bench.spool.messages
    assert [b"2", b"3", b"4"] == bench.drain()


def test_two_agents_do_not_share_a_spool(bench: Bench) -> None:
    """The second is told so in one line; when the first has ended it may."""
    with pytest.raises(TokenmillError, match="another agent keeps its spool in"):
        bench.open()
    bench.spool.close()
    bench.open()


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """It names the setting and the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenmillError, match=r"\[agent\] state_dir: cannot keep a spool in .*: Not a directory"):
        Bench(tmp_path / "file" / "spool")


def test_many_messages_fill_several_segments(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is removed when all of it was delivered."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
    bench.put(*[str(number).encode() for number in range(20)])
    before = len(bench.segments())
    bench.drain(10)

    assert before > len(bench.segments()) > 1
    assert [str(number).encode() for number in range(10, 20)] == bench.drain()


class TestBounds:
    """What does not fit."""

    def test_the_oldest_segment_makes_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its messages are counted; the newest are kept, and the size stays below what was allowed."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
        bench = Bench(tmp_path / "spool", max_bytes=500)
        for number in range(100):
            assert bench.put(str(number).encode())
            assert bench.spool.size_bytes <= 500
        left = bench.drain()
        bench.spool.close()

        assert 100 == bench.dropped + len(left)
        assert [str(number).encode() for number in range(100 - len(left), 100)] == left

    def test_a_message_larger_than_the_spool_is_refused(self, tmp_path: Path) -> None:
        """After everything older made room in vain."""
        bench = Bench(tmp_path / "spool", max_bytes=200)
        bench.put(b"1")

        assert not bench.put(os.urandom(1000))
        assert 1 == bench.dropped

        bench.spool.close()

    def test_a_disk_that_is_nearly_full_is_left_alone(self, tmp_path: Path) -> None:
        """Nothing is written where less than the floor would stay free."""
        bench = Bench(tmp_path / "spool", min_free_bytes=shutil.disk_usage(tmp_path).total)

        assert not bench.put(b"1")
        assert [] == bench.segments()

        bench.spool.close()

    def test_a_disk_that_fills_up_drops_the_oldest(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """The write that failed leaves no trace, the oldest segment makes room, and the message is kept."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 1)
        bench.put(b"1", b"2")
        self._fail_once(monkeypatch, errno.ENOSPC)

        assert bench.put(b"3")
        assert ([b"2", b"3"], 1) == (bench.drain(), bench.dropped)

    def test_a_disk_that_is_broken_costs_the_message_alone(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Making room would not help: what is there stays."""
        bench.put(b"1")
        self._fail_once(monkeypatch, errno.EIO)

        assert not bench.put(b"2")
        assert bench.put(b"3")
        assert ([b"1", b"3"], 0) == (bench.drain(), bench.dropped)

    @staticmethod
    def _fail_once(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        codes = [code]
        sync = os.fdatasync

        def fail(descriptor: int) -> None:
            if codes:
                raise OSError(codes.pop(), "the disk")
            sync(descriptor)

        monkeypatch.setattr(os, "fdatasync", fail)


class TestDamage:
    """What a power cut or a bad disk leaves."""

    def test_a_torn_entry_ends_its_segment(self, bench: Bench) -> None:
        """Everything before it is given out, and new messages go to a new segment."""
        bench.put(b"1", b"2")
        bench.spool.close()
        with bench.segments()[0].open("ab") as segment:
            segment.write(b"\x01\x02\x03\x04\xff\x00\x00\x00half")
        bench.open()
        bench.put(b"3")

        assert [b"1", b"2", b"3"] == bench.drain()

    def test_a_flipped_bit_costs_the_rest_of_its_segment(self, bench: Bench) -> None:
        """It is counted, and the next segment is read."""
        bench.put(b"1" * 50, b"2" * 50, b"3" * 50)
        bench.spool.close()
        (segment,) = bench.segments()
        content = bytearray(segment.read_bytes())
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
        bench.open()
        bench.put(b"4")

        assert [b"1" * 50, b"4"] == bench.drain()
        assert 2 == bench.dropped

    @pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 20])
    def test_a_broken_cursor_means_from_the_beginning(self, bench: Bench, content: bytes) -> None:
        """A second sending is better than a loss."""
        bench.put(b"1", b"2")
        bench.drain(1)
        bench.spool.close()
        (bench.directory / "cursor").write_bytes(content)
        bench.open()

        assert [b"1", b"2"] == bench.drain()

    def test_a_kill_loses_nothing_that_was_kept(self, tmp_path: Path) -> None:
        """Every message whose append returned is there, in order."""
        for _ in range(3):
            process = subprocess.Popen(
                [sys.executable, "-c", APPENDER, str(tmp_path / "spool")], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            for _ in range(20):
                process.stdout.readline()
            process.kill()
            kept = 20 + len(process.stdout.read().split())
            process.wait()
            process.stdout.close()
            bench = Bench(tmp_path / "spool")
            found = bench.drain()
            bench.spool.close()

            assert len(found) >= kept
            assert [str(number).encode() for number in range(len(found))] == found


steps = st.lists(st.sampled_from(("put", "take", "reopen")), max_size=40)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_it_is_a_queue_over_any_number_of_runs(tmp_path_factory: pytest.TempPathFactory, todo: list[str]) -> None:
    """First in, first out, whatever is closed and opened between."""
    bench = Bench(tmp_path_factory.mktemp("spool"))
    model: deque[bytes] = deque()
    for number, step in enumerate(todo):
        if step == "put":
            bench.put(str(number).encode())
            model.append(str(number).encode())
        elif step == "take":
            expected = [model.popleft()] if model else []

            assert expected == bench.drain(1)
        else:
            bench.spool.close()
            bench.open()

        assert len(model) == bench.spool.messages

    assert list(model) == bench.drain()
    bench.spool.close()
