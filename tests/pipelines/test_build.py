"""The build as a whole: what it leaves behind when it is killed, runs twice or has nothing to do."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.scripted import ScriptedNode, ScriptedWarehouse, at, rows, server
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import BuildReport, build
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings

HOURS = 4
NOW_SECONDS = HOURS * 3600 + 400

BUILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
settings = PipelineSettings(data_dir=Path(sys.argv[1]), memory_limit_megabytes=1024)
now = datetime.fromtimestamp(int(sys.argv[2]), UTC)
print("started", flush=True)
build(settings, BuildSettings(hours_per_batch=1), FleetSettings(), BillingSettings(), now=now)
"""


HOLD = """
import duckdb, sys, time
connection = duckdb.connect(sys.argv[1], read_only=True)
print("open", flush=True)
time.sleep(600)
"""


def serving(name: str = "n1") -> ScriptedNode:
    """Return a node that serves for some hours at 500 W and a hundred tokens a second."""
    node = ScriptedNode(name=name)
    for seconds in range(0, NOW_SECONDS, 60):
        node.gpu_rows(
            [{"at_us": at(seconds), "energy_counter_millijoules": 500_000 * (seconds + 10**6)}],
            placements=[node.placement(0, at(seconds), "d1")],
        )
        node.token_rows(
            [server(started_at_us=at(-500))],
            [{"at_us": at(seconds), "input_tokens": 90 * seconds, "output_tokens": 10 * seconds}],
        )
    return node


def run(settings: PipelineSettings, seconds: float = NOW_SECONDS, **more: Any) -> BuildReport:
    """Build at so many seconds after the script's start."""
    now = datetime.fromtimestamp(at(seconds) / 1e6, UTC)
    return build(settings, BuildSettings(), FleetSettings(), BillingSettings(), now=now, **more)


def published(settings: PipelineSettings) -> list[dict[str, Any]]:
    """Return what the published file says of every hour."""
    with duckdb.connect(str(settings.published_path), read_only=True) as connection:
        return rows(
            connection,
            "select hour_at, gpu_generation, model, total_tokens, gpu_energy_joules, revision "
            "from marts.hourly_tokens_per_megawatt order by all",
        )


def test_nothing_landed_publishes_empty_tables(tmp_path: Path) -> None:
    """Before the first message there is a published file, with the tables and no rows."""
    settings = PipelineSettings(data_dir=tmp_path)
    report = run(settings)

    assert (0, 0) == (report.slices_seen, report.hours_priced)
    assert [] == published(settings)


def test_second_build_changes_nothing(tmp_path: Path) -> None:
    """Without new slices, bills or prices there is no new revision."""
    warehouse = ScriptedWarehouse(tmp_path)
    warehouse.land(serving().sent)
    first = run(warehouse.settings)
    figures = published(warehouse.settings)
    second = run(warehouse.settings)

    assert (HOURS, HOURS) == (first.hours_priced, first.revisions_made)
    assert (0, 0) == (second.hours_priced, second.revisions_made)
    assert figures == published(warehouse.settings)


def test_asked_hours_are_built_again_without_a_new_revision(tmp_path: Path) -> None:
    """Building a range anew restates only what comes out differently."""
    warehouse = ScriptedWarehouse(tmp_path)
    warehouse.land(serving().sent)
    run(warehouse.settings)
    day = tuple(datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (10, 12))
    report = run(warehouse.settings, hours=day)

    assert (2, 0) == (report.hours_priced, report.revisions_made)


def test_late_telemetry_is_a_new_revision(tmp_path: Path) -> None:
    """A node whose samples come a day late restates the hours it adds to, and the old figures stay."""
    warehouse = ScriptedWarehouse(tmp_path)
    warehouse.land(serving().sent)
    run(warehouse.settings)
    before = published(warehouse.settings)
    late = serving("n2")
    warehouse.land(late.sent)
    run(warehouse.settings, NOW_SECONDS + 24 * 3600)
    with duckdb.connect(str(warehouse.settings.published_path), read_only=True) as connection:
        kept = rows(
            connection,
            "select revision, count(*) as hours from hourly.revisions group by all order by all",
        )

    assert [1] * HOURS == [row["revision"] for row in before]
    assert {2} == {row["revision"] for row in published(warehouse.settings)[:HOURS]}
    assert HOURS == sum(row["hours"] for row in kept if row["revision"] == 1) - 1


def test_killed_build_is_finished_by_the_next(tmp_path: Path) -> None:
    """Kill -9 at any moment leaves the old publication whole, and the next build ends where an undisturbed one does."""
    undisturbed = ScriptedWarehouse(tmp_path / "undisturbed")
    undisturbed.land(serving().sent)
    run(undisturbed.settings)
    disturbed = ScriptedWarehouse(tmp_path / "disturbed")
    disturbed.land(serving().sent)
    now = str(round(at(NOW_SECONDS) / 1e6))
    for delay_seconds in (0.3, 0.8, 1.3, 1.8, 2.3, 2.8):
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD, str(disturbed.root), now], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if disturbed.settings.published_path.exists():
            published(disturbed.settings)
    run(disturbed.settings)

    assert published(undisturbed.settings) == published(disturbed.settings)


def test_build_beside_an_open_warehouse_says_so(tmp_path: Path) -> None:
    """A warehouse that somebody has opened by hand is one sentence, not a traceback."""
    warehouse = ScriptedWarehouse(tmp_path)
    warehouse.land(serving().sent)
    run(warehouse.settings)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLD,
            str(warehouse.settings.warehouse_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert "open\n" == holder.stdout.readline()
        with pytest.raises(TokenmillError, match=r"warehouse\.duckdb"):
            run(warehouse.settings)
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("harm", ["overwritten", "missing"])
def test_a_damaged_landing_is_one_sentence(tmp_path: Path, harm: str) -> None:
    """A landed file that is junk, or gone, stops the build with its name; no figure is made of the rest."""
    warehouse = ScriptedWarehouse(tmp_path)
    warehouse.land(serving().sent)
    (harmed,) = warehouse.settings.landing_dir.glob("slices/*/gpu_samples.parquet")
    if harm == "missing":
        harmed.unlink()
    else:
        harmed.write_bytes(b"junk" * 100)

    with pytest.raises(TokenmillError, match=r"build stopped at the landing: .*gpu_samples\.parquet"):
        run(warehouse.settings)
