"""The one writer and its file."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import tokenmill_sql
from tests.scripted import START, ScriptedWarehouse
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import PipelineSettings

HOLD = """
import sys, time
from pathlib import Path
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import PipelineSettings
with warehouse.writer_lock(PipelineSettings(data_dir=Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


def test_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    """While one process writes another gets a sentence with its number, and kill -9 frees the lock at once."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        impatient = PipelineSettings(data_dir=tmp_path, lock_wait_seconds=0.1)
        with pytest.raises(TokenmillError, match=f"process {holder.pid}"), warehouse.writer_lock(impatient):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with warehouse.writer_lock(PipelineSettings(data_dir=tmp_path)):
        written = (tmp_path / "warehouse.lock").read_text(encoding="utf-8")

    assert written.isdigit()


def test_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    """A file that is no DuckDB database is named, without a traceback of the engine."""
    settings = PipelineSettings(data_dir=tmp_path)
    settings.warehouse_path.write_bytes(b"this is not a database" * 1000)

    with pytest.raises(TokenmillError, match=r"warehouse\.duckdb"), warehouse.open_warehouse(settings):
        pass


def test_transaction_leaves_nothing_of_a_failure(tmp_path: Path) -> None:
    """What a block wrote before it failed is gone."""
    found = ScriptedWarehouse(tmp_path)
    with warehouse.open_warehouse(found.settings) as connection:
        with pytest.raises(duckdb.Error), warehouse.transaction(connection):
            connection.execute("insert into ops.seen_slices values ('s', $1); select * from nowhere", [START])
        count = connection.execute("select count(*) from ops.seen_slices").fetchall()

    assert [(0,)] == count


@pytest.mark.parametrize("stage", tokenmill_sql.STAGES)
def test_every_stage_orders_itself(stage: str) -> None:
    """Each file comes after those that it reads."""
    seen: set[str] = set()
    models = tokenmill_sql.models(stage)
    names = {model.relation for model in models}
    for model in models:
        assert model.references(names) <= seen
        seen.add(model.relation)

    assert names == seen
    assert names


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A data directory that is a file is named with the remedy."""
    (tmp_path / "file").write_text("no directory", encoding="utf-8")
    settings = PipelineSettings(data_dir=tmp_path / "file")

    with pytest.raises(TokenmillError, match="name another --data-dir"), warehouse.writer_lock(settings):
        pass
