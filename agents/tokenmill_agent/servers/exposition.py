"""Reads the wanted samples out of a Prometheus or OpenMetrics text page, exactly, and looks at no other line.

Grammar of a sample line: name, optional `{label="value",...}`, value, optional timestamp, optional exemplar. Comments
are skipped, so that it does not matter how `# TYPE` spells a name.
"""

import dataclasses
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

Labels = tuple[tuple[str, str], ...]
"""The labels of one sample, sorted by name: two lines with the same name and these are the same sample."""

MAX_SAMPLE_CHARACTERS: Final = 64 * 1024
"""A longer line of a wanted sample is not read: no server writes one."""

MAX_SAMPLES: Final = 100_000
"""More wanted samples than this are not read from one page."""

MAX_INTEGER: Final = 2**63 - 1

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?", re.ASCII)
_LABEL: Final = re.compile(r'\s*([a-zA-Z_][\w.:]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))')
_CLOSING: Final = re.compile(r"\s*\}")
_ESCAPE: Final = re.compile(r"\\(.)")
_UNESCAPED: Final = {"n": "\n", "\\": "\\", '"': '"'}


class PageError(ValueError):
    """A page that cannot be counted; the message says why, in a few words."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One wanted sample, its value as it was written."""

    name: str
    labels: Labels
    value: str


def wanted_samples(text: str, wanted: Mapping[str, str]) -> list[Sample]:
    """Return the samples of `text` whose name is a key of `wanted`, under the name that it maps to.

    Raises:
        PageError: the line of a wanted sample cannot be read, or there are too many.
    """
    samples: list[Sample] = []
    for line in text.split("\n"):
        words = line.split(None, 1)
        if not words:
            continue
        spelling = words[0].partition("{")[0]
        name = wanted.get(spelling)
        if name is not None:
            samples.append(_sample(name, line.lstrip()[len(spelling) :].lstrip()))
            if len(samples) > MAX_SAMPLES:
                raise PageError(f"more than {MAX_SAMPLES} samples to count")
    return samples


def exact_integer(value: str) -> int | None:
    """Return the whole number that a counter's value writes (`4915.0`, `1.23457e+08`), or None where it is none.

    None for NaN, infinities, negative numbers, fractions and what does not fit in 63 bits.
    """
    if value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    number = _finite(value)
    # The exponent is looked at first: turning 1e999999999 into an integer would take all memory.
    if number is None or number < 0 or number.adjusted() > 18 or number != number.to_integral_value():
        return None
    whole = int(number)
    return whole if whole <= MAX_INTEGER else None


def exact_seconds(value: str) -> float | None:
    """Return a value as seconds, or None for NaN, infinities and negative numbers."""
    number = _finite(value)
    if number is None or number < 0 or number.adjusted() > 18:
        return None
    return float(number)


def exact_microseconds(value: str) -> int | None:
    """Return a time given in seconds since 1970 as microseconds, or None where it is no time."""
    number = _finite(value)
    if number is None or number <= 0 or number.adjusted() > 11:
        return None
    return int(number * 1_000_000)


def _finite(value: str) -> Decimal | None:
    return Decimal(value) if len(value) <= 64 and _NUMBER.fullmatch(value) else None


def _sample(name: str, rest: str) -> Sample:
    if len(rest) > MAX_SAMPLE_CHARACTERS:
        raise PageError(f"a line of {name} is longer than {MAX_SAMPLE_CHARACTERS} characters")
    labels, rest = _labels(name, rest) if rest.startswith("{") else ((), rest)
    words = rest.split(None, 1)
    if not words:
        raise PageError(f"a line of {name} has no value")
    return Sample(name=name, labels=labels, value=words[0])


def _labels(name: str, rest: str) -> tuple[Labels, str]:
    labels: dict[str, str] = {}
    position = 1
    while (match := _LABEL.match(rest, position)) is not None:
        label, raw, _ = match.groups()
        if label in labels:
            raise PageError(f"a line of {name} has the label {label} twice")
        labels[label] = _ESCAPE.sub(_unescape, raw) if "\\" in raw else raw
        position = match.end()
    closing = _CLOSING.match(rest, position)
    if closing is None:
        raise PageError(f"a line of {name} has labels that cannot be read")
    return tuple(sorted(labels.items())), rest[closing.end() :]


def _unescape(match: re.Match[str]) -> str:
    return _UNESCAPED.get(match[1], match[0])
