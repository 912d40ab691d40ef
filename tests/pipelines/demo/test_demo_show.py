"""What the demo prints at its end can be typed as it stands."""

from pathlib import Path

import pytest

from tokenmill_pipeline.demo.show import QUERIES, advice


def test_the_advice_has_every_query_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are as seen from here, and the file is named."""
    monkeypatch.chdir(tmp_path)
    lines = list(advice(tmp_path / "demo", tmp_path / "demo" / "analytics.duckdb"))

    assert "demo/analytics.duckdb" in lines[0]
    assert len(QUERIES) == len(lines) - 1
    assert all(" --data-dir demo sql " in line for line in lines[1:])
