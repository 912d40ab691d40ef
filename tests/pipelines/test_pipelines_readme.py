"""The README of the pipeline: its settings are those of the code, and its example of a price file loads."""

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tokenmill_pipeline.billing.load import load_path
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.context import ServeSettings
from tokenmill_pipeline.ingest_settings import IngestSettings

README = Path(__file__).parents[2] / "pipelines" / "README.md"


def default(field: "dataclasses.Field[Any]") -> str:
    """Return how the table writes a default; `-` where there is none."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value in (None, (), {}, dataclasses.MISSING) or dataclasses.is_dataclass(value):
        return "-"
    return str(value).lower() if isinstance(value, bool) else f"`{value}`"


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("pipeline", PipelineSettings),
        ("ingest", IngestSettings),
        ("build", BuildSettings),
        ("fleet", FleetSettings),
        ("billing", BillingSettings),
        ("serve", ServeSettings),
    ],
)
def test_every_setting_is_listed_with_its_default(table: str, settings: type[Any]) -> None:
    """Each key of a table stands in the README, in order, with the default of the code."""
    section = README.read_text(encoding="utf-8").split(f"### `[{table}]`\n")[1].split("\n#")[0]
    listed = re.findall(r"^\| (`\w+`) \| (\S+|`[^`]*`) \|", section, flags=re.MULTILINE)

    assert [(f"`{field.name}`", default(field)) for field in dataclasses.fields(settings)] == listed


def test_the_price_file_of_the_readme_loads(tmp_path: Path) -> None:
    """What a user copies is what the loader takes."""
    example = README.read_text(encoding="utf-8").split("## Price files")[1].split("```toml\n")[1].split("```")[0]
    (tmp_path / "prices.toml").write_text(example, encoding="utf-8")
    report = load_path(
        PipelineSettings(data_dir=tmp_path), BillingSettings(), tmp_path / "prices.toml", now=datetime.now(UTC)
    )

    assert {"reference.prices": 2, "billing.resource_links": 1, "fleet.model_aliases": 1} == dict(report.price_entries)
