"""Landed files as relations."""

from pathlib import Path

from tests.scripted import ScriptedNode, ScriptedWarehouse, at
from tokenmill_pipeline import inputs, landing, warehouse
from tokenmill_pipeline.landing_schema import TABLES


def test_nothing_landed_reads_as_empty_tables_of_the_right_shape(tmp_path: Path) -> None:
    """Before the first slice every raw relation is there, with its columns and no rows."""
    found = ScriptedWarehouse(tmp_path)
    with warehouse.open_warehouse(found.settings) as connection:
        inputs.view_raw(connection, [])
        columns = {
            table: [row[0] for row in connection.execute(f"describe raw.{table}").fetchall()] for table in TABLES
        }
        count = connection.execute("select count(*) from raw.gpu_samples").fetchall()

    assert {table: list(schema) for table, schema in TABLES.items()} == columns
    assert [(0,)] == count


def test_hour_views_read_only_files_that_touch_the_hours(tmp_path: Path) -> None:
    """A slice of another hour is not opened."""
    found = ScriptedWarehouse(tmp_path)
    for hour in (0, 1):
        node = ScriptedNode(run_id=f"run-{hour}")
        node.gpu_rows([{"at_us": at(hour * 3600 + 5), "energy_counter_millijoules": 1}])
        found.land(node.sent)
    with (
        landing.reading(found.settings.landing_dir) as manifests,
        warehouse.open_warehouse(found.settings) as connection,
    ):
        inputs.view_hours(connection, manifests, [landing.hour_of(at(0))])
        runs = connection.execute("select distinct run_id from hour_gpu_samples").fetchall()
        inputs.view_raw(connection, manifests)
        slices = connection.execute("select count(*) from raw.slices").fetchall()

    assert [("run-0",)] == runs
    assert [(2,)] == slices
