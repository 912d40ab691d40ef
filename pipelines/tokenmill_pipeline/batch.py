"""Collects decoded messages between two slices; a bad one is set aside alone."""

import dataclasses
import hashlib
import operator
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import polars as pl

from tokenmill_agent.records import (
    Device,
    GpuPowerMessage,
    GpuSamples,
    Head,
    HostSamples,
    Identity,
    Placement,
    Server,
    TokenCountersMessage,
    TokenSamples,
)
from tokenmill_pipeline.decode import Message, RawMessage, RefusedError, decode_message
from tokenmill_pipeline.frames import Collected, Columns, Rows, judge
from tokenmill_pipeline.ingest_settings import Limits
from tokenmill_pipeline.landing import HourRange
from tokenmill_pipeline.landing_schema import TABLES

_KEYS_MAX: Final = 500_000
"""So many series keys are remembered before the memory starts anew."""


def _names(record: type, *, without: str = "") -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record) if field.name != without)


_HEAD: Final = _names(Head, without="identity")
_IDENTITY: Final = _names(Identity)
_SOURCE: Final = ("topic", "partition", "offset", "appended_at_us", "delivery")
_DEVICE: Final = _names(Device)
_PLACEMENT: Final = _names(Placement)
_SERVER: Final = _names(Server)

_get_head: Final = operator.attrgetter(*_HEAD)
_get_identity: Final = operator.attrgetter(*_IDENTITY)
_get_source: Final = operator.attrgetter(*_SOURCE)
_get_device: Final = operator.attrgetter(*_DEVICE)
_get_placement: Final = operator.attrgetter(*_PLACEMENT)
_get_server: Final = operator.attrgetter(*_SERVER)


class Keys:
    """Names counter series and runs by stable 64-bit hashes, and remembers those that it has named.

    The hash is BLAKE2b with 8 bytes over the parts as a JSON array, read as a signed little-endian integer.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], int] = {}

    def key(self, *parts: object) -> int:
        """Return the key of `parts`, the same in every process and version."""
        known = self._known.get(parts)
        if known is None:
            if len(self._known) >= _KEYS_MAX:
                self._known.clear()
            digest = hashlib.blake2b(msgspec.json.encode(parts), digest_size=8).digest()
            known = self._known[parts] = int.from_bytes(digest, "little", signed=True)
        return known


class Batch:
    """The messages between two slices: `add` each, then `take` the frames, which empties it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._keys = Keys()
        self._clear()

    def _clear(self) -> None:
        self.message_count = 0
        self.row_count = 0
        self.byte_count = 0
        self._raws: list[RawMessage] = []
        self._refused: list[tuple[RawMessage, str, str]] = []
        self._collected = Collected(
            messages=Rows((*_HEAD, *_IDENTITY, *_SOURCE, "run_key", "exempt")),
            devices=Rows(("series_key", *_DEVICE)),
            placements=Rows(_PLACEMENT),
            servers=Rows(_SERVER),
            series=Rows(("series_key", "server_id", "rank")),
            gpu_samples=Columns(_names(GpuSamples, without="device")),
            host_samples=Columns(_names(HostSamples)),
            token_samples=Columns(_names(TokenSamples, without="series")),
        )

    def add(self, raw: RawMessage) -> None:
        """Decode a message and keep it; one that cannot be decoded is kept as refused."""
        self.message_count += 1
        self.byte_count += len(raw.value or b"")
        try:
            message = decode_message(raw.value, self._limits)
        except RefusedError as refused:
            self.refuse(raw, refused.reason, refused.detail)
            return
        owner = len(self._raws)
        self._raws.append(raw)
        self._collected.messages.add(owner, [self._head(raw, message)])
        if isinstance(message, GpuPowerMessage):
            self._add_gpu_power(owner, message)
        else:
            self._add_token_counters(owner, message)

    def refuse(self, raw: RawMessage, reason: str, detail: str) -> None:
        """Keep a row for rejected_messages that says why something is not landed."""
        self._refused.append((raw, reason, detail))

    def _head(self, raw: RawMessage, message: Message) -> tuple[Any, ...]:
        exempt = message.clock == "driven" or raw.delivery == "file"
        key = self._keys.key(message.run_id)
        return (*_get_head(message), *_get_identity(message.identity), *_get_source(raw), key, exempt)

    def _add_gpu_power(self, owner: int, message: GpuPowerMessage) -> None:
        collected, key = self._collected, self._keys.key
        epoch = (message.driver_version, message.nvml_generation)
        first = len(collected.devices.rows)
        devices = [
            (key(message.node, d.gpu_uuid, message.boot_id, *epoch, d.energy_scope), *_get_device(d))
            for d in message.devices
        ]
        collected.devices.add(owner, devices)
        collected.placements.add(owner, [_get_placement(placement) for placement in message.placements])
        collected.gpu_samples.index += [first + device for device in message.samples.device]
        collected.gpu_samples.add(owner, message.samples)
        collected.host_samples.add(owner, message.host_samples)
        self.row_count += len(message.samples.device) + len(message.host_samples.id)

    def _add_token_counters(self, owner: int, message: TokenCountersMessage) -> None:
        collected, key = self._collected, self._keys.key
        first = len(collected.series.rows)
        named = [(message.servers[one.server].server_id, one.rank) for one in message.series]
        collected.series.add(owner, [(key(message.node, message.boot_id, *one), *one) for one in named])
        collected.servers.add(owner, [_get_server(server) for server in message.servers])
        collected.token_samples.index += [first + one for one in message.samples.series]
        collected.token_samples.add(owner, message.samples)
        self.row_count += len(message.samples.series)

    def take(self, retired: Iterable[HourRange] = ()) -> dict[str, pl.DataFrame]:
        """Return the frames of `landing_schema.TABLES`, some of them empty, and start anew.

        What is refused or set aside (see `frames.judge`) gives one row in rejected_messages per message and reason.
        """
        frames, faults = judge(self._collected, self._limits, retired)
        refused = [*self._refused, *((self._raws[f.message], f.reason, f.detail) for f in faults)]
        frames["rejected_messages"] = self._rejected(refused)
        self._clear()
        return frames

    def _rejected(self, refused: list[tuple[RawMessage, str, str]]) -> pl.DataFrame:
        most = self._limits.rejected_payload_bytes_max
        rows = [
            (raw.topic, raw.partition, raw.offset, raw.appended_at_us, reason, detail[:most], (raw.value or b"")[:most])
            for raw, reason, detail in refused
        ]
        return pl.DataFrame(rows, schema=TABLES["rejected_messages"], orient="row")
