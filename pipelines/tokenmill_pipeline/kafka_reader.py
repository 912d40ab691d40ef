"""Reads partitions of both topics from where the landing says, and lands what it read with how far it read."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kafka import TopicPartition
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.records import DELIVERY_HEADER
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline.decode import RawMessage
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.kafka_client import (
    cluster_id,
    describe_topics,
    explained,
    open_admin,
    open_consumer,
    topic_id,
)
from tokenmill_pipeline.lander import Gap, IngestReport, Lander
from tokenmill_pipeline.landing import Head, OffsetRange, stored_heads
from tokenmill_pipeline.landing_write import now_us
from tokenmill_pipeline.locks import hold

_POLL_MILLISECONDS: Final = 200
_NEW_PARTITIONS_SECONDS: Final = 30.0
_DELIVERIES: Final = {b"live": "live", b"spooled": "spooled", b"replayed": "replayed"}


class Reader:
    """A consumer of some partitions, whose locks it holds, and the rows that it read since the last slice."""

    def __init__(self, landing_dir: Path, kafka: KafkaSettings, settings: IngestSettings) -> None:
        self._landing_dir = landing_dir
        self._kafka = kafka
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._topic_ids: dict[str, str | None] = {}
        self._landed: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._stack = opening
            wanted = self._find_partitions()
            with explained(self._kafka, "to read the topics"):
                self._consumer = open_consumer(self._kafka, self._settings.broker_timeout_seconds)
            opening.callback(self._consumer.close)
            self._lander = Lander(
                self._landing_dir,
                self._settings,
                source=cluster_id(self._consumer),
            )
            self._adopt(wanted)
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _find_partitions(self) -> list[TopicPartition]:
        names = [self._kafka.gpu_power_topic, self._kafka.token_counters_topic]
        with explained(self._kafka, "to describe the topics"):
            admin = open_admin(self._kafka, self._settings.broker_timeout_seconds)
            try:
                found = describe_topics(admin, names)
            finally:
                admin.close()
        if missing := [name for name in names if name not in found]:
            raise TokenmillError(
                f"topic {missing[0]} does not exist at {', '.join(self._kafka.bootstrap_servers)}: create it with "
                "`tokenmill topics create`, or correct the topic names of [kafka]"
            )
        self._topic_ids = {name: found[name]["topic_id"] for name in names}
        return [tp for name in names for tp in self._chosen(name, len(found[name]["partitions"]))]

    def _chosen(self, topic: str, count: int) -> list[TopicPartition]:
        asked = self._settings.partitions
        if unknown := [number for number in asked if not 0 <= number < count]:
            raise UsageError(f"topic {topic} has the partitions 0 to {count - 1}, there is no partition {unknown[0]}")
        return [TopicPartition(topic, number) for number in asked or range(count)]

    def adopt_new_partitions(self) -> None:
        """Read partitions that were added to the topics, unless this process was given its own."""
        if self._settings.partitions or time.monotonic() - self._looked < _NEW_PARTITIONS_SECONDS:
            return
        self._looked = time.monotonic()
        with explained(self._kafka, "to look for new partitions"):
            counts = {topic: len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._topic_ids}
        every = [tp for topic, count in counts.items() for tp in self._chosen(topic, count)]
        if added := [tp for tp in every if tp not in self._next]:
            self._adopt(added)

    def _adopt(self, partitions: Sequence[TopicPartition]) -> None:
        """Lock partitions and read them from where the landing says."""
        for tp in partitions:
            lock = self._landing_dir / "locks" / f"{tp.topic}-{tp.partition}.lock"
            if not self._stack.enter_context(hold(lock, wait=False)):
                raise TokenmillError(
                    f"partition {tp.partition} of {tp.topic} is being ingested by another process: stop that one, or "
                    "give each process partitions of its own with --partitions"
                )
        # Only under the locks: another process may have landed until now.
        heads = stored_heads(self._landing_dir)
        self._lander.after(max((head.landed_at_us for head in heads.values()), default=0))
        with explained(self._kafka, "to read the offsets"):
            firsts = self._consumer.beginning_offsets(partitions)
            ends = self._consumer.end_offsets(partitions)
        for tp in partitions:
            self._next[tp] = self._landed[tp] = self._start(
                tp, heads.get((tp.topic, tp.partition)), firsts[tp], ends[tp]
            )
        self._consumer.assign(list(self._next))
        for tp, offset in self._next.items():
            self._consumer.seek(tp, offset)

    def _start(self, tp: TopicPartition, head: Head | None, first: int, end: int) -> int:
        """Return the offset to begin at: what the landing says, if the broker still has it."""
        if head is None:
            return first
        known_id = self._topic_ids[tp.topic]
        remade = None not in (head.topic_id, known_id) and head.topic_id != known_id
        if not remade and first <= head.next_offset <= end:
            return head.next_offset
        reason = _gap_reason(head.next_offset, first, end, remade=remade)
        # A log of the same topic that lost its tail goes on at its end; else everything in it is new.
        lost_tail = known_id is not None and not remade and head.next_offset > end
        gap = Gap(
            topic=tp.topic,
            partition=tp.partition,
            stored_offset=head.next_offset,
            continued_at=end if lost_tail else first,
            reason=reason,
        )
        if not self._settings.accept_gaps:
            raise _gap_error(tp, head.next_offset, reason)
        self._lander.note_gap(gap)
        return gap.continued_at

    def read(self) -> int:
        """Wait shortly for messages, keep them and cut a slice when one is due; return how many came."""
        count = 0
        for tp, found in self._poll().items():
            for record in found:
                self._lander.add(_raw(record))
            self._next[tp] = found[-1].offset + 1
            count += len(found)
        if self._lander.due:
            self.cut()
        return count

    def cut(self) -> None:
        """Land what was read.

        Raises:
            TokenmillError: the topic was made anew meanwhile, or the landing cannot be written.
        """
        for topic, known in self._topic_ids.items():
            found = topic_id(self._consumer, topic)
            if None not in (known, found) and known != found:
                raise TokenmillError(
                    f"topic {topic} was deleted and made anew while it was read: start ingest again with --accept-gaps "
                    "to read the new one from its beginning"
                )
        self._lander.cut(
            [
                OffsetRange(
                    topic=tp.topic,
                    partition=tp.partition,
                    topic_id=self._topic_ids[tp.topic],
                    first_offset=self._landed[tp],
                    next_offset=offset,
                )
                for tp, offset in self._next.items()
            ]
        )
        self._landed = dict(self._next)

    def ends(self) -> dict[TopicPartition, int]:
        """Return where the partitions end at this moment."""
        with explained(self._kafka, "to read the offsets"):
            found: dict[TopicPartition, int] = self._consumer.end_offsets(list(self._next))
        return found

    def reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether everything before `ends` was read; the end of a transaction is an offset without a message."""
        with explained(self._kafka, "to read the topics"):
            return all(
                self._next[tp] >= end or (self._consumer.position(tp, timeout_ms=1000) or 0) >= end
                for tp, end in ends.items()
            )

    def lag(self) -> int | None:
        """Return how many messages wait at the broker, None before it has said so for every partition."""
        waiting = 0
        for tp, offset in self._next.items():
            end: int | None = self._consumer.highwater(tp)
            if end is None:
                return None
            waiting += max(end - offset, 0)
        return waiting

    def report(self, maintenance_problem: str | None = None) -> IngestReport:
        """Return what has landed so far."""
        return self._lander.report(lag_messages=self.lag(), maintenance_problem=maintenance_problem)

    def _poll(self) -> dict[TopicPartition, list[Any]]:
        with explained(self._kafka, "to read the topics"):
            try:
                found: dict[TopicPartition, list[Any]] = self._consumer.poll(_POLL_MILLISECONDS)
            except OffsetOutOfRangeError as error:
                raise self._lost(next(iter(error.args[0]))) from error
            except LogTruncationError as error:
                raise self._lost(next(iter(error.divergent_offsets))) from error
        return found

    def _lost(self, tp: TopicPartition) -> TokenmillError:
        first, end = self._consumer.beginning_offsets([tp])[tp], self._consumer.end_offsets([tp])[tp]
        stored = self._next[tp]
        return _gap_error(tp, stored, _gap_reason(stored, first, end, remade=False))


def _raw(record: Any) -> RawMessage:
    """Return a record as ingest takes it; a topic that keeps no time counts as appended now."""
    headers: dict[str, bytes] = dict(record.headers or ())
    known_time = record.timestamp is not None and record.timestamp >= 0
    return RawMessage(
        value=record.value,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        appended_at_us=record.timestamp * 1000 if known_time else now_us(),
        delivery=_DELIVERIES.get(headers.get(DELIVERY_HEADER, b"")),
    )


def _gap_reason(stored: int, first: int, end: int, *, remade: bool) -> str:
    if remade:
        return "the topic was deleted and made anew since then"
    if stored > end:
        return f"the log ends at {end}: it lost what was read already, or the topic was made anew"
    return f"the log starts at {first}: {first - stored} messages were deleted before they were read"


def _gap_error(tp: TopicPartition, stored: int, reason: str) -> TokenmillError:
    return TokenmillError(
        f"cannot go on in partition {tp.partition} of topic {tp.topic} at the stored offset {stored}: {reason}; start "
        "ingest once with --accept-gaps to go on with what there is, the gap is then noted in the landing"
    )
