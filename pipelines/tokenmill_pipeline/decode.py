"""Decodes one message of the wire into the agent's records, or refuses it alone with a reason."""

import dataclasses
from collections.abc import Sized
from typing import Final

import msgspec

from tokenmill_agent.records import (
    SCHEMA_VERSION,
    GpuPowerMessage,
    GpuSamples,
    HostSamples,
    TokenCountersMessage,
    TokenSamples,
)
from tokenmill_pipeline.ingest_settings import Limits

Message = GpuPowerMessage | TokenCountersMessage
Samples = GpuSamples | HostSamples | TokenSamples


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawMessage:
    """What a topic partition, or a line of a file, holds at an offset.

    `delivery` is live, spooled or replayed as the record header says, `file` for a line of a file, None where nobody
    said.
    """

    value: bytes | None
    topic: str
    partition: int
    offset: int
    appended_at_us: int
    delivery: str | None


class RefusedError(Exception):
    """A message that cannot be landed: a stable reason for machines, a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _Head(msgspec.Struct):
    schema_version: int
    kind: str


_HEAD: Final = msgspec.json.Decoder(_Head)
_KINDS: Final[dict[str, msgspec.json.Decoder[Message]]] = {
    "gpu-power": msgspec.json.Decoder(GpuPowerMessage),
    "token-counters": msgspec.json.Decoder(TokenCountersMessage),
}
_GPU_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(GpuSamples))
_HOST_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(HostSamples))
_TOKEN_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(TokenSamples))


def decode_message(value: bytes | None, limits: Limits) -> Message:
    """Return the message that the bytes hold: its shape, lengths and indices are right, its values are not yet judged.

    Raises:
        RefusedError: empty, too_large, not_json, unknown_schema_version, unknown_kind, wrong_shape, too_many_rows,
            unequal_columns or index_out_of_range.
    """
    if not value:
        raise RefusedError("empty", "the record has no value")
    if len(value) > limits.message_bytes_max:
        raise RefusedError("too_large", f"{len(value)} bytes, at most {limits.message_bytes_max} are read")
    try:
        message = _decode(value)
    except msgspec.ValidationError as error:
        raise RefusedError("wrong_shape", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError("not_json", str(error)) from error
    except RecursionError as error:
        raise RefusedError("not_json", "nested too deeply") from error
    _check_shape(message, limits)
    return message


def _decode(value: bytes) -> Message:
    # The version and the kind first: a later version may have any other shape.
    head = _HEAD.decode(value)
    if head.schema_version != SCHEMA_VERSION:
        raise RefusedError(
            "unknown_schema_version", f"version {head.schema_version}, this tokenmill knows {SCHEMA_VERSION}"
        )
    decoder = _KINDS.get(head.kind)
    if decoder is None:
        raise RefusedError("unknown_kind", f"kind {head.kind[:64]!r}, known are {', '.join(_KINDS)}")
    return decoder.decode(value)


def _check_shape(message: Message, limits: Limits) -> None:
    if not (message.node and message.boot_id and message.run_id):
        raise RefusedError("wrong_shape", "node, boot_id and run_id name the message and cannot be empty")
    if isinstance(message, GpuPowerMessage):
        rows = _equal_length(message.samples, _GPU_COLUMNS) + _equal_length(message.host_samples, _HOST_COLUMNS)
        _check_rows(rows, (message.devices, message.placements), limits)
        _check_index("samples.device", message.samples.device, len(message.devices))
        return
    rows = _equal_length(message.samples, _TOKEN_COLUMNS)
    _check_rows(rows, (message.servers, message.series), limits)
    _check_index("samples.series", message.samples.series, len(message.series))
    _check_index("series.server", [series.server for series in message.series], len(message.servers))


def _equal_length(samples: Samples, columns: tuple[str, ...]) -> int:
    lengths = {len(getattr(samples, column)) for column in columns}
    if len(lengths) == 1:
        return lengths.pop()
    raise RefusedError("unequal_columns", f"columns of {type(samples).__name__} have {sorted(lengths)} entries")


def _check_rows(sample_rows: int, others: tuple[Sized, ...], limits: Limits) -> None:
    rows = max(sample_rows, *map(len, others))
    if rows > limits.message_rows_max:
        raise RefusedError("too_many_rows", f"{rows} rows, at most {limits.message_rows_max} are read")


def _check_index(name: str, indices: list[int], length: int) -> None:
    if indices and (min(indices) < 0 or max(indices) >= length):
        raise RefusedError("index_out_of_range", f"{name} points at {min(indices)} to {max(indices)} of {length}")
