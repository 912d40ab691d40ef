"""What the doctor says of a data directory that is not whole."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tokenmill_pipeline import doctor, landing
from tokenmill_pipeline.config import PipelineSettings
from tokenmill_pipeline.ingest_file import ingest_file
from tokenmill_pipeline.ingest_settings import IngestSettings
from tokenmill_pipeline.locks import hold

NOW = datetime(2026, 11, 24, 13, tzinfo=UTC)
JUNK = "no database" * 1000


@pytest.fixture
def settings(tmp_path: Path) -> PipelineSettings:
    """Return the settings of a data directory in which a line that is no message has landed."""
    lines = tmp_path / "lines.jsonl"
    lines.write_text("no json\n", encoding="utf-8")
    settings = PipelineSettings(data_dir=tmp_path / "data")
    ingest_file(settings.landing_dir, lines, IngestSettings())
    return settings


def of(settings: PipelineSettings, area: str, what: str) -> doctor.Finding:
    """Return the one finding of that name."""
    (found,) = [
        one for one in doctor.examine(settings, None, now=NOW) if one.area == area and one.what.startswith(what)
    ]
    return found


def test_a_damaged_warehouse_is_bad(settings: PipelineSettings) -> None:
    """Nobody writes it and it cannot be opened: only a copy helps."""
    settings.warehouse_path.write_text(JUNK, encoding="utf-8")
    found = of(settings, "warehouse", "contents")

    assert "bad" == found.verdict
    assert f"cannot open {settings.warehouse_path}" in str(found.remedy)
    assert "restore it from a copy" in str(found.remedy)


def test_a_warehouse_that_is_being_written_is_only_worth_a_look(settings: PipelineSettings) -> None:
    """While the writer lock is held, what cannot be opened may be whole in a moment."""
    settings.warehouse_path.write_text(JUNK, encoding="utf-8")
    with hold(settings.lock_path):
        found = of(settings, "warehouse", "contents")

    assert ("look", "it is being written; ask later") == (found.verdict, found.remedy)


def test_an_area_that_cannot_be_read_hides_no_other(settings: PipelineSettings) -> None:
    """A damaged slice and a damaged publication are two findings, and the warehouse is looked at as well."""
    (manifest,) = landing.list_slices(settings.landing_dir)
    # Another process would not have read it before the damage.
    landing._read_manifest.cache_clear()
    (manifest.path / "slice.json").write_text("{", encoding="utf-8")
    settings.published_path.write_text(JUNK, encoding="utf-8")

    assert "slice.json is damaged" in str(of(settings, "landing", "cannot be read").remedy)
    assert str(of(settings, "published", "cannot be read").remedy).endswith("run `tokenmill publish`")
    assert "free" == of(settings, "warehouse", "writer lock").value


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "does not start with PAR1"),
        (b"PAR1", "does not end with PAR1"),
        (b"PAR1" + bytes(100), "does not end with PAR1"),
    ],
)
def test_a_landed_file_that_is_not_whole_is_bad(
    settings: PipelineSettings, content: bytes | None, problem: str
) -> None:
    """A file that is missing or cut off is named."""
    (manifest,) = landing.list_slices(settings.landing_dir)
    path = manifest.path / "rejected_messages.parquet"
    path.unlink() if content is None else path.write_bytes(content)
    found = of(settings, "landing", "damaged file")

    assert (f"damaged file: {path}", problem, "bad") == (found.what, found.value, found.verdict)


def test_landed_files_that_are_whole_are_not_told(settings: PipelineSettings) -> None:
    """Nothing is damaged, and what was refused is counted."""
    assert not [one for one in doctor.examine(settings, None, now=NOW) if one.what.startswith("damaged")]
    assert 1 == of(settings, "landing", "refused messages: not_json").value
