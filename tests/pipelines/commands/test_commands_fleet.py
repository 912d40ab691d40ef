"""`tokenmill fleet` on published tables."""

from pathlib import Path

import pytest

from tests.pipelines.commands.conftest import Tokenmill
from tokenmill_pipeline.cli import main


def test_nodes_are_listed_with_what_they_said(tokenmill: Tokenmill) -> None:
    """Each node has one row: its provider, its GPUs, and that it is simulated."""
    rows = tokenmill("fleet", "nodes")

    assert [("hopper-1", "ExampleCloud", 8, True), ("blackwell-1", "NeoCloud", 8, True)] == [
        (row["node"], row["provider"], row["gpus"], row["simulated"]) for row in rows
    ]


def test_units_are_listed_with_their_generation(tokenmill: Tokenmill) -> None:
    """Each serving unit has one row; one model runs on both generations."""
    rows = tokenmill("fleet", "units")
    found = {(row["model"], row["gpu_generation"]) for row in rows}

    assert {("llama-3.3-70b", "Hopper"), ("llama-3.3-70b", "Blackwell"), ("qwen3-32b", "Hopper")} == found


def test_a_confirmed_node_has_its_hours_built_anew(tokenmill: Tokenmill) -> None:
    """Confirming says how many hours the next build has to do, and that build finds nothing to change."""
    told = tokenmill("fleet", "confirm", "hopper-1")
    report = tokenmill("build")

    assert ["hopper-1"] == told["confirmed"]
    assert told["hours_for_the_next_build"] > 0
    assert 0 == report["revisions_made"]


def test_a_node_that_nobody_knows_is_refused(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error names the node that was meant."""
    code = main(["--data-dir", str(data_dir), "fleet", "confirm", "hoper-1"])

    assert 2 == code
    assert 'did you mean "hopper-1"?' in capsys.readouterr().err
