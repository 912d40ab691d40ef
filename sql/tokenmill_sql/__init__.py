"""The SQL of the warehouse: finds the files of a stage, orders them by their own references and reads the dictionary.

One file holds one relation and is named after it: `measure/measured.gpu_energy.sql` fills `measured.gpu_energy`,
`attribute/work_cells.sql` makes the temporary table `work_cells`. The first line is a comment that states the grain; a
first line that starts with `-- view:` makes the relation a view. Nothing here runs SQL: the pipeline does.
"""

import dataclasses
import functools
import graphlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parent
STAGES: Final = (
    "billing", "fleet", "links", "batch", "measure", "attribute", "price", "revise", "states", "marts",
)  # fmt: skip
"""Every folder of models, in the order in which a build passes through them."""
Kind = Literal["temporary", "table", "view"]

_COMMENT: Final = re.compile(r"--[^\n]*")
_NAME: Final = re.compile(r"\b(?:[a-z_]+\.)?[a-z_][a-z0-9_]*\b")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One SQL file: the relation it makes, its text without the closing semicolon, and how it is kept."""

    relation: str
    sql: str
    kind: Kind
    grain: str

    def references(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of `names` that the text mentions, itself left out."""
        mentioned = set(_NAME.findall(_COMMENT.sub("", self.sql)))
        return frozenset(name for name in names if name in mentioned and name != self.relation)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One entry of the dictionary: the same name has the same type, unit and meaning in every relation."""

    name: str
    type: str
    unit: str
    description: str


@functools.cache
def models(stage: str) -> tuple[Model, ...]:
    """Return the models of a stage, each after those that it reads.

    Raises:
        graphlib.CycleError: two files read each other.
    """
    found = {model.relation: model for model in map(_read, sorted((ROOT / stage).glob("*.sql")))}
    graph = {name: model.references(found) for name, model in found.items()}
    return tuple(found[name] for name in graphlib.TopologicalSorter(graph).static_order())


@functools.cache
def tables() -> tuple[Model, ...]:
    """Return the `create table` statements of every stored relation."""
    return tuple(map(_read, sorted((ROOT / "tables").glob("*.sql"))))


@functools.cache
def checks() -> tuple[Model, ...]:
    """Return the checks: each selects the rows that offend, so an empty result is a pass."""
    return tuple(map(_read, sorted((ROOT / "checks").glob("*.sql"))))


@functools.cache
def macros() -> str:
    """Return the statements that make the macros every other file may use."""
    return (ROOT / "macros.sql").read_text(encoding="utf-8")


@functools.cache
def columns() -> dict[str, Column]:
    """Return the dictionary of columns, by name."""
    tables_of_columns = tomllib.loads((ROOT / "columns.toml").read_text(encoding="utf-8"))
    return {
        name: Column(name=name, type=entry["type"], unit=entry.get("unit", ""), description=entry["description"])
        for name, entry in tables_of_columns.items()
    }


def statements(text: str) -> Sequence[str]:
    """Return the statements of a file that holds several, comments and empty ones left out."""
    return [part.strip() for part in _COMMENT.sub("", text).split(";") if part.strip()]


def _read(path: Path) -> Model:
    text = path.read_text(encoding="utf-8").strip().rstrip(";")
    first = text.partition("\n")[0].removeprefix("--").strip()
    relation = path.name.removesuffix(".sql")
    return Model(relation=relation, sql=text, kind=_kind(relation, first), grain=first.removeprefix("view:").strip())


def _kind(relation: str, first_line: str) -> Kind:
    if first_line.startswith("view:"):
        return "view"
    return "table" if "." in relation else "temporary"
