"""A data directory of one case: messages, price files and bills go in by the public ways, published rows come out."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from tests.scripted import ScriptedNode
from tokenmill_pipeline.billing.load import LoadOptions, load_path
from tokenmill_pipeline.billing.options import Mode
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.ingest_file import ingest_file
from tokenmill_pipeline.ingest_settings import IngestSettings

PROVIDER = "acme"
ACCOUNT = "acct"


@dataclasses.dataclass(slots=True, kw_only=True)
class Stage:
    """Where one case is carried out; each build is a minute later than the one before."""

    folder: Path
    rules: BuildSettings = dataclasses.field(default_factory=BuildSettings)
    builds: int = 0
    _number: Any = dataclasses.field(default_factory=itertools.count)

    @property
    def settings(self) -> PipelineSettings:
        """Return the settings of the data directory."""
        return PipelineSettings(data_dir=self.folder / "data", memory_limit_megabytes=1024)

    def another(self, name: str, rules: BuildSettings) -> "Stage":
        """Return a data directory inside this one's, for a part of the case that stands alone."""
        return Stage(folder=self.folder / name, rules=rules)

    def ingest(self, nodes: Iterable[ScriptedNode]) -> None:
        """Write what nodes sent, a message a line, and ingest the file."""
        path = self._new("messages", "jsonl")
        with path.open("wb") as handle:
            handle.writelines(message.value + b"\n" for node in nodes for message in node.sent if message.value)
        report = ingest_file(self.settings.landing_dir, path, IngestSettings())
        if report.rejected:
            raise AssertionError(f"the runner sent what ingest refuses: {dict(report.rejected)}")

    def prices(self, tables: Sequence[tuple[str, dict[str, Any]]], now: datetime) -> None:
        """Write a price file of the tables and load it."""
        path = self._new("prices", "toml")
        path.write_text("\n".join(_toml(name, keys) for name, keys in tables), encoding="utf-8")
        load_path(self.settings, BillingSettings(), path, now=now)

    def bill(self, rows: Sequence[dict[str, str]], now: datetime) -> None:
        """Write a bill of the rows in the columns of FOCUS and load it."""
        columns = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
        lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
        path = self._new("bill", "csv")
        path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
        self.load(path, now)

    def load(self, path: Path, now: datetime, delivery: Mode | None = None) -> None:
        """Load a bill as the command does; what such files leave out is said by flags."""
        options = LoadOptions(provider=PROVIDER, account=ACCOUNT, currency="USD", delivery=delivery)
        load_path(self.settings, BillingSettings(), path, options=options, now=now)

    def build(self, now: datetime) -> None:
        """Build every hour that is over and publish."""
        self.builds += 1
        moment = now.astimezone(UTC) + timedelta(minutes=self.builds)
        build(self.settings, self.rules, FleetSettings(), BillingSettings(), now=moment)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query of the published file."""
        with duckdb.connect(str(self.settings.published_path), read_only=True) as connection:
            cursor = connection.execute(query, list(parameters))
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def one(self, query: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """Return the one row of a query of the published file."""
        found = self.rows(query, parameters)
        if len(found) != 1:
            raise LookupError(f"{len(found)} published rows where one is expected: {' '.join(query.split())}")
        return found[0]

    def _new(self, name: str, suffix: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{name}-{next(self._number)}.{suffix}"


def _toml(name: str, keys: dict[str, Any]) -> str:
    return "\n".join([f"[[{name}]]", *(f"{key} = {_value(value)}" for key, value in keys.items()), ""])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
