"""Writes a message as one line of columnar JSON: what goes to Kafka is also one line of a message file."""

import dataclasses
import json
from typing import Any, Final

from tokenmill_agent.records import GpuPowerMessage, TokenCountersMessage

Message = GpuPowerMessage | TokenCountersMessage

_NAMES: Final[dict[type[Any], tuple[str, ...]]] = {}


def encode(message: Message) -> bytes:
    """Return `message` as UTF-8 JSON without a line break.

    Raises:
        ValueError: a number in it is NaN or infinite, which JSON cannot say.
    """
    text = json.dumps(_plain(message), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # A name read from the system may hold bytes that are no UTF-8; the message is worth more than their spelling.
    return text.encode("utf-8", errors="replace")


def _plain(value: Any) -> Any:
    # Columns hold plain numbers and are passed on as they are: copying them would cost more than writing them.
    if isinstance(value, list):
        return [_plain(item) for item in value] if value and dataclasses.is_dataclass(value[0]) else value
    names = _field_names(type(value))
    return {name: _plain(getattr(value, name)) for name in names} if names else value


def _field_names(cls: type[Any]) -> tuple[str, ...]:
    # Asking a class for its fields costs more than writing them, and there are only a few classes.
    if cls not in _NAMES:
        _NAMES[cls] = tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()
    return _NAMES[cls]
