"""Reads the cases of a directory, and keeps account of which of a case's fields were looked at."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tokenmill_agent.errors import UsageError

KNOWN_KEYS: Final = {
    "id", "kind", "inputs", "expected", "tolerance", "published", "published_closes", "published_tolerance", "note",
    "source",
}  # fmt: skip
NEEDED_KEYS: Final = ("id", "kind", "inputs", "expected")
TOLERANCES: Final = {"relative", "absolute"}


class CaseError(Exception):
    """A case that cannot be carried out: what is wrong with it, in one line."""


class Fields:
    """The inputs of a case: what nobody asked for is told, so that no field is passed over in silence."""

    def __init__(self, values: dict[str, Any], place: str = "inputs") -> None:
        """Take what the case says at `place`."""
        self._values = values
        self._place = place
        self._left = dict.fromkeys(values)
        self._inner: list[Fields] = []

    def __contains__(self, name: str) -> bool:
        """Say whether the case has the field, be it null."""
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or `default` where the case lacks it."""
        self._left.pop(name, None)
        return self._values.get(name, default)

    def need(self, name: str) -> Any:
        """Return a field; raises CaseError where the case lacks it."""
        if name not in self._values:
            raise CaseError(f"{self._place}.{name} is missing")
        return self.get(name)

    def number(self, name: str) -> float:
        """Return a field that is a number, or text of one; raises CaseError where it is none."""
        value = self.need(name)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise CaseError(f"{self._place}.{name}: {value!r} is no number") from None

    def choice(self, name: str, known: Sequence[str], default: str | None = None) -> str:
        """Return a field that is one of `known`; raises CaseError where it is another."""
        value = self.get(name, default) if default is not None else self.need(name)
        if value not in known:
            raise CaseError(f"{self._place}.{name}: unknown {value!r}, known are {', '.join(known)}")
        return str(value)

    def inner(self, name: str) -> "Fields":
        """Return a field that is a table of fields."""
        return self._made(self.need(name), f"{self._place}.{name}")

    def each(self, name: str) -> list["Fields"]:
        """Return a field that is a list of tables of fields."""
        value = self.need(name)
        if not isinstance(value, list) or not value:
            raise CaseError(f"{self._place}.{name}: expected a list with something in it")
        return [self._made(item, f"{self._place}.{name}[{index}]") for index, item in enumerate(value)]

    def unread(self) -> Iterator[str]:
        """Yield the fields that nobody asked for."""
        yield from (f"{self._place}.{name}" for name in self._left)
        for fields in self._inner:
            yield from fields.unread()

    def _made(self, value: Any, place: str) -> "Fields":
        if not isinstance(value, dict):
            raise CaseError(f"{place}: expected a table of fields")
        fields = Fields(value, place)
        self._inner.append(fields)
        return fields


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: what goes in, what must come out, and how near; `folder` is what its file paths are relative to."""

    id: str
    kind: str
    folder: Path
    inputs: dict[str, Any]
    expected: dict[str, Any]
    tolerance: dict[str, float]
    unknown: tuple[str, ...]

    def fields(self) -> Fields:
        """Return the inputs with an account of their own."""
        return Fields(self.inputs)

    def path(self, name: Any) -> Path:
        """Return the file that a case names; raises CaseError where there is none."""
        path = (self.folder / str(name)).resolve()
        if not path.is_file():
            raise CaseError(f"file {name} is not there: its path is relative to {self.folder}")
        return path


def read_cases(folder: Path) -> list[Case]:
    """Return the cases of `cases.json`, or of every `cases_*.json`, of a directory.

    Raises:
        UsageError: there is no such directory, no case in it, or a file that holds no cases.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no directory: name one that holds cases.json or cases_*.json")
    files = sorted({*folder.glob("cases.json"), *folder.glob("cases_*.json")})
    cases = [_case(path, index, item) for path in files for index, item in enumerate(_items(path))]
    if not cases:
        raise UsageError(f'{folder} holds no case: put {{"cases": [...]}} into cases.json or cases_NAME.json there')
    names = [case.id for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{folder} has two cases of the id {twice[0]!r}: give each a name of its own")
    return cases


def _items(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    items = content.get("cases") if isinstance(content, dict) else content
    if not isinstance(items, list):
        raise UsageError(f'{path} holds no list of cases: write {{"cases": [...]}}')
    return items


def _case(path: Path, index: int, item: Any) -> Case:
    missing = [key for key in NEEDED_KEYS if key not in item] if isinstance(item, dict) else list(NEEDED_KEYS)
    if missing:
        raise UsageError(f"{path}: cases[{index}] lacks {', '.join(missing)}")
    if not isinstance(item["inputs"], dict) or not isinstance(item["expected"], dict):
        raise UsageError(f"{path}: cases[{index}]: inputs and expected are tables of fields")
    tolerance = item.get("tolerance", {})
    return Case(
        id=str(item["id"]),
        kind=str(item["kind"]),
        folder=path.parent,
        inputs=item["inputs"],
        expected=item["expected"],
        tolerance=tolerance,
        unknown=(
            *sorted(item.keys() - KNOWN_KEYS),
            *(f"tolerance.{name}" for name in sorted(tolerance.keys() - TOLERANCES)),
        ),
    )
