"""The published file is swapped whole: readers never wait, never fail and never see half of anything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.priced import H0, HOUR, Priced
from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline import publish, warehouse
from tokenmill_pipeline.config import PipelineSettings

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> PipelineSettings:
    """Return settings with a data directory of the test's own and a warehouse of one priced hour."""
    found = PipelineSettings(data_dir=tmp_path)
    with_warehouse(found, first_hour)
    return found


def with_warehouse(settings: PipelineSettings, work: Any) -> None:
    """Do something in the warehouse and close it."""
    priced = Priced(settings.warehouse_path)
    try:
        work(priced)
    finally:
        priced.connection.close()


def first_hour(priced: Priced) -> None:
    """Price one hour of one unit on a rate card."""
    priced.use(joules=1000)
    priced.tokens(8_000_000, 2_000_000)
    priced.rate("rate_card", 2.0)
    priced.price()


def price_next(priced: Priced) -> None:
    """Price one hour more, and give every hour another price."""
    count = priced.one("select count(distinct hour_at) from hourly.unit_use")
    priced.use(hour_at=H0 + count * HOUR)
    priced.connection.execute("update reference.prices set amount = amount + 1")
    priced.price(*(H0 + number * HOUR for number in range(count + 1)))


def read(settings: PipelineSettings, query: str) -> list[tuple[Any, ...]]:
    """Query the published file in a connection of its own."""
    connection = duckdb.connect(str(settings.published_path), read_only=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_what_is_published_answers_by_itself(settings: PipelineSettings) -> None:
    """The file holds tables, views, macros and comments, and says when it was published."""
    report = publish.publish(settings, now=NOW)

    assert ("whole", 1, 1) == (report.made, report.hour_count, report.changed_hour_count)
    assert [(1.6,)] == read(settings, "select cost_per_million_tokens from marts.hourly_cost_per_token")
    assert [(NOW.replace(tzinfo=None), 1)] == read(settings, "select published_at, hour_count from marts.publication")
    assert [("currency",)] == read(
        settings,
        "select regexp_extract(comment, 'Unit: (.*)[.]', 1) from duckdb_columns() "
        "where table_name = 'hourly_cost_per_token' and column_name = 'effective_cost'",
    )


def test_every_view_of_the_published_file_can_be_read(settings: PipelineSettings) -> None:
    """No view reaches for something that was left behind."""
    publish.publish(settings, now=NOW)
    views = read(settings, "select schema_name || '.' || view_name from duckdb_views() where not internal")

    assert len(views) >= 5
    for (view,) in views:
        read(settings, f"from {view}")


def test_raw_measured_and_invoice_documents_stay_behind(settings: PipelineSettings) -> None:
    """What is not for analysts is not in the file."""
    publish.publish(settings, now=NOW)

    assert [("billing",), ("fleet",), ("hourly",), ("marts",), ("reference",)] == read(
        settings, "select distinct schema_name from duckdb_tables() order by 1"
    )
    assert [] == read(settings, "select 1 from duckdb_columns() where column_name = 'payload'")


def test_a_publication_is_carried_on_by_its_changed_hours(settings: PipelineSettings) -> None:
    """Of many hours only the changed one is written; the file then holds what a whole new one would."""
    for _ in range(3):
        with_warehouse(settings, price_next)
    publish.publish(settings, now=NOW)
    with_warehouse(settings, lambda priced: (priced.charge("99", resource_id="x"), priced.price(H0 + HOUR)))
    report = publish.publish(settings, now=NOW + timedelta(hours=1))
    query = "select hour_at, model, effective_cost, revision from marts.hourly_economics order by all"
    carried = read(settings, query)
    publish.publish(settings, now=NOW, full=True)

    assert ("changed_hours", 1, 4) == (report.made, report.changed_hour_count, report.hour_count)
    assert read(settings, query) == carried
    assert [(1,)] == read(settings, "select count(*) from billing.charges")


def test_a_file_of_another_definition_is_written_anew(
    settings: PipelineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer release with other views does not carry on an older file."""
    publish.publish(settings, now=NOW)
    monkeypatch.setattr(publish, "definition_digest", lambda: "another")

    assert "whole" == publish.publish(settings, now=NOW).made


def test_a_file_of_another_warehouse_is_written_anew(settings: PipelineSettings) -> None:
    """A warehouse that was made anew does not carry on the old one's file: the sums tell."""
    with_warehouse(settings, price_next)
    publish.publish(settings, now=NOW)
    settings.warehouse_path.unlink()
    with_warehouse(settings, first_hour)
    report = publish.publish(settings, now=NOW)

    assert ("whole", 1) == (report.made, report.hour_count)


@pytest.mark.parametrize("content", [b"", b"this is no database"])
def test_a_damaged_file_is_replaced(settings: PipelineSettings, content: bytes) -> None:
    """Whatever lies at the path, the next publication is whole."""
    settings.published_path.write_bytes(content)

    assert "whole" == publish.publish(settings, now=NOW).made


def test_without_a_warehouse_the_remedy_is_named(tmp_path: Path) -> None:
    """One sentence says what is missing and what to run."""
    with pytest.raises(TokenmillError, match=r"no warehouse at .*: run `tokenmill build` first"):
        publish.publish(PipelineSettings(data_dir=tmp_path))


def test_a_wrong_table_stops_the_publication(settings: PipelineSettings) -> None:
    """A whole table that is not as it should be is never published; the earlier file stays."""
    publish.publish(settings, now=NOW)
    before = settings.published_path.read_bytes()
    with_warehouse(settings, lambda priced: priced.connection.execute("drop table hourly.unit_use"))

    with pytest.raises(TokenmillError, match=r"hourly\.unit_use is missing; nothing was published"):
        publish.publish(settings, now=NOW)
    assert before == settings.published_path.read_bytes()
    assert ["analytics.duckdb", "warehouse.duckdb"] == sorted(path.name for path in settings.data_dir.glob("*.duckdb*"))


def test_an_open_warehouse_is_one_clear_error(settings: PipelineSettings) -> None:
    """While another process has the warehouse open, publishing fails in one line and leaves nothing behind."""
    script = (
        "import sys, time, duckdb; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(settings.warehouse_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with pytest.raises(
                TokenmillError, match=r"cannot publish .*analytics\.duckdb: .*the earlier publication stays"
            ):
                publish.publish(settings, now=NOW)
        finally:
            process.kill()
    assert not settings.published_path.exists()


def test_the_lock_is_taken_where_nobody_holds_it(settings: PipelineSettings) -> None:
    """A caller without the lock publishes as the one writer; one that waits in vain is told who holds it."""
    publish.publish_alone(settings, now=NOW)
    hasty = PipelineSettings(data_dir=settings.data_dir, lock_wait_seconds=0)

    with warehouse.writer_lock(settings), pytest.raises(TokenmillError, match="is held by process"):
        publish.publish_alone(hasty, now=NOW)


READER = """
import sys, duckdb
path, stop, log = sys.argv[1:]
import os
rounds, seen = 0, set()
print("ready", flush=True)
while not os.path.exists(stop):
    connection = duckdb.connect(path, read_only=True)
    published, hours = connection.execute("select published_at, hour_count from marts.publication").fetchall()[0]
    for query in (
        "select count(distinct hour_at), count(distinct effective_cost) from marts.hourly_cost_per_token",
        "select count(distinct hour_at), count(distinct reporting_cost) from hourly.charge_lines",
        "select count(distinct hour_at), 1 from hourly.unit_use",
    ):
        found = connection.execute(query).fetchall()[0]
        assert found == (hours, 1), (published, hours, found, query)
    again = connection.execute("select published_at from marts.publication").fetchall()[0][0]
    assert again == published
    connection.close()
    rounds += 1
    seen.add(str(published))
with open(log, "w") as file:
    file.write(f"{rounds} {len(seen)}")
"""


@pytest.fixture
def readers(settings: PipelineSettings, tmp_path: Path) -> Iterator[tuple[Path, list[tuple[Any, Path]]]]:
    """Start two processes that query the published file in a loop until the stop file appears."""
    publish.publish(settings, now=NOW)
    stop = tmp_path / "stop"
    running = []
    for number in range(2):
        log = tmp_path / f"log-{number}"
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(settings.published_path), str(stop), str(log)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        running.append((process, log))
    yield stop, running
    for process, _ in running:
        process.kill()
        process.communicate()


def test_readers_never_fail_and_never_see_half_a_publication(
    settings: PipelineSettings, readers: tuple[Path, list[tuple[Any, Path]]]
) -> None:
    """Two processes read in a loop through four publications: no error, and in each all tables are of one age."""
    stop, running = readers
    for number in range(1, 5):
        with_warehouse(settings, price_next)
        publish.publish(settings, now=NOW + timedelta(minutes=number), full=number % 2 == 0)
    time.sleep(0.5)
    stop.touch()

    for process, log in running:
        _, errors = process.communicate(timeout=60)
        assert (0, "") == (process.returncode, errors)
        rounds, seen = map(int, log.read_text().split())
        assert rounds >= seen >= 2


def test_a_reader_that_keeps_the_file_open_keeps_its_figures(settings: PipelineSettings) -> None:
    """An open connection goes on with the file it opened, while the path already means the next one."""
    publish.publish(settings, now=NOW)
    connection = duckdb.connect(str(settings.published_path), read_only=True)
    try:
        with_warehouse(settings, price_next)
        publish.publish(settings, now=NOW + timedelta(hours=1))

        assert [(1,)] == connection.execute("select count(*) from marts.hourly_economics").fetchall()
    finally:
        connection.close()
    assert [(2,)] == read(settings, "select count(*) from marts.hourly_economics")


PUBLISHER = """
import sys
from pathlib import Path
from tokenmill_pipeline import publish
from tokenmill_pipeline.config import PipelineSettings
print("start", flush=True)
publish.publish_alone(PipelineSettings(data_dir=Path(sys.argv[1])), full=sys.argv[2] == "full")
"""


@pytest.mark.parametrize("kind", ["full", "carried"])
def test_killed_at_any_moment_the_old_file_stays_whole(settings: PipelineSettings, kind: str) -> None:
    """A publisher is killed again and again, ever later: the path can always be read, and the next run mends all."""
    publish.publish(settings, now=NOW)
    with_warehouse(settings, price_next)
    outcomes = set()
    for attempt in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(settings.data_dir), kind], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.06 * attempt)
            os.kill(process.pid, signal.SIGKILL)
        outcomes.add(read(settings, "select count(*), sum(effective_cost) from marts.hourly_economics")[0])
    publish.publish(settings, now=NOW)

    assert outcomes <= {(1, 16.0), (2, 48.0)}
    assert [(2, 48.0)] == read(settings, "select count(*), sum(effective_cost) from marts.hourly_economics")
    assert ["analytics.duckdb", "warehouse.duckdb"] == sorted(path.name for path in settings.data_dir.glob("*.duckdb*"))


def test_a_warehouse_with_a_log_of_a_killed_build_is_published(settings: PipelineSettings) -> None:
    """What a killed build committed and did not write back is in the publication too."""
    script = (
        "import os, sys, duckdb; connection = duckdb.connect(sys.argv[1]); "
        'connection.execute("update marts.hourly_economics set effective_cost = 77"); os._exit(1)'
    )
    subprocess.run([sys.executable, "-c", script, str(settings.warehouse_path)], check=False)
    log = settings.warehouse_path.with_name("warehouse.duckdb.wal")

    assert log.is_file()
    publish.publish(settings, now=NOW)
    assert [(77.0,)] == read(settings, "select effective_cost from marts.hourly_economics")
