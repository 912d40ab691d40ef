"""Holds what came out beside what a case expects, line by line."""

import dataclasses
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

REMARKS: Final = ("note",)
"""Fields of `expected` that are words for a reader."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure of a case: what is expected, what came out, and whether they agree."""

    case: str
    kind: str
    figure: str
    expected: str
    got: str
    passed: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A case and its lines; it passed where every line did and there is one."""

    case: str
    kind: str
    seconds: float
    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Say whether all of it came out."""
        return bool(self.lines) and all(line.passed for line in self.lines)


def compare(
    expected: Mapping[str, Any], found: Mapping[str, Any], tolerance: Mapping[str, float]
) -> Iterator[tuple[str, str, str, bool]]:
    """Yield figure, expected, got and verdict of every field of `expected`.

    A reason must be among those that came out. `never` and `wrong_...` must be no figure that came out; words there,
    and a note, are for a reader.
    """
    figures = flat(found)
    for name, value in flat(expected).items():
        if name in REMARKS or (_is_never(name) and not _is_number(value)):
            continue
        if _is_never(name):
            near = [other for other, figure in figures.items() if _is_number(figure) and is_close(figure, value, {})]
            yield name, f"not {text(value)}", ", ".join(near) or "not there", not near
        elif name not in figures:
            yield name, text(value), "not computed by this kind", False
        else:
            yield name, text(value), text(figures[name]), agrees(figures[name], value, tolerance)


def agrees(found: Any, expected: Any, tolerance: Mapping[str, float]) -> bool:
    """Return whether a value is the expected one: null only null, a reason among several, numbers within tolerance."""
    if isinstance(found, frozenset):
        return expected in found
    if expected is None or found is None:
        return expected is found
    if isinstance(expected, list):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(expected)
            and all(agrees(one, other, tolerance) for one, other in zip(found, expected, strict=True))
        )
    if _is_number(expected) and _is_number(found):
        return is_close(found, expected, tolerance)
    return bool(found == expected)


def is_close(found: Any, expected: Any, tolerance: Mapping[str, float]) -> bool:
    """Return whether a figure is the expected one: money of a bill exactly, others within tolerance and rounding.

    An expected figure was rounded to its last digit, so half of that digit is allowed.
    """
    if isinstance(expected, str) and tolerance.get("absolute") == 0:
        return Decimal(found) == Decimal(expected)
    written = format(Decimal(str(expected)), "f")
    digits = len(written.partition(".")[2])
    slack = 0.5 * 10**-digits if digits else 0.0
    allowed = tolerance.get("absolute", 0) + tolerance.get("relative", 0) * abs(float(expected)) + slack
    return abs(float(found) - float(expected)) <= allowed * (1 + 1e-9)


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested tables as one, each name with those of the tables around it."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{before}{name} ") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return found


def text(value: Any) -> str:
    """Return a value as the table shows it; what is missing is null, never 0."""
    if value is None:
        return "null"
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "no reason"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(text, value)) + "]"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, Decimal):
        plain = format(value, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def _is_never(name: str) -> bool:
    last = name.rpartition(" ")[2]
    return last == "never" or last.startswith("wrong_")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return False
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False
