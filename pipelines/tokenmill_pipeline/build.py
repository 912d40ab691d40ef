"""Builds every marked hour: takes in, measures, attributes, prices and publishes, as the one writer."""

import dataclasses
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline import dirty, inputs, landing, measuring, price, publish, reference_data, warehouse
from tokenmill_pipeline.billing.links import link_resources
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.dirty import HOUR
from tokenmill_pipeline.measuring import Progress

PRICE_CAUSES: Final = (*measuring.ATTRIBUTE_CAUSES, "billing", "reference")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did: slices taken in, hours by step, revisions, what was withheld, and what waits to be over.

    `withheld` has one sentence per hour and provider whose new figures failed a closure: there the earlier ones stay.
    `hours_waiting` are marked hours that are not over yet, with their grace.
    """

    build_id: str
    slices_seen: int
    hours_measured: int
    hours_attributed: int
    hours_priced: int
    revisions_made: int
    withheld: tuple[str, ...]
    warnings: tuple[str, ...]
    hours_waiting: int
    seconds: float
    published: publish.PublishReport | None


def build(
    settings: PipelineSettings,
    build: BuildSettings,
    fleet: FleetSettings,
    billing: BillingSettings,
    *,
    now: datetime,
    hours: tuple[datetime, datetime] | None = None,
    publish_after: bool = True,
    progress: Progress | None = None,
) -> BuildReport:
    """Build every marked hour whose end lies `grace_seconds` before `now`; `hours` marks those from one to another too.

    `progress` is told the step, how many of its batches are done and how many there are. Killed anywhere, nothing is
    lost: an hour leaves the list in the transaction that prices it.

    Raises:
        TokenmillError: another process is writing, the warehouse cannot be opened, the disk is full, or a whole table
            is wrong.
    """
    with warehouse.writer_lock(settings):
        report = _build(settings, build, fleet, billing, now=now, hours=hours, progress=progress or _silent)
        if not publish_after:
            return report
        return dataclasses.replace(report, published=publish.publish(settings, now=now))


def _build(
    settings: PipelineSettings,
    build: BuildSettings,
    fleet: FleetSettings,
    billing: BillingSettings,
    *,
    now: datetime,
    hours: tuple[datetime, datetime] | None,
    progress: Progress,
) -> BuildReport:
    started = time.monotonic()
    moment = reference_data.utc(now)
    build_id = uuid.uuid4().hex[:12]
    with warehouse.open_warehouse(settings) as connection, landing.reading(settings.landing_dir) as manifests:
        connection.execute(
            "insert into ops.builds values ($1, $2, null, 0, 0, 'running', null)",
            [build_id, datetime.now(UTC).replace(tzinfo=None)],
        )
        measuring.set_constants(connection, build, fleet)
        with warehouse.transaction(connection):
            reference_data.load_reference(connection, fleet, billing.provider_names, moment)
        run = measuring.Measuring(
            connection=connection, manifests=manifests, settings=build, now=moment, progress=progress
        )
        try:
            slices_seen = measuring.take_in(run)
            with warehouse.transaction(connection):
                link_resources(connection, moment)
                _mark_range(run, hours)
            measured = measuring.measure(run)
            attributed = measuring.attribute(run)
            priced = _price(run)
            _forget(connection)
            inputs.view_raw(connection, manifests)
        except duckdb.Error as error:
            raise _readable(error, settings) from error
        waiting = connection.execute("select count(distinct hour_at) from ops.dirty_hours").fetchall()[0][0]
        report = BuildReport(
            build_id=build_id,
            slices_seen=slices_seen,
            hours_measured=len(measured),
            hours_attributed=len(attributed),
            hours_priced=len(priced.hours),
            revisions_made=len(priced.revisions),
            withheld=tuple(map(str, priced.withheld)),
            warnings=tuple(map(str, priced.warnings)),
            hours_waiting=waiting,
            seconds=time.monotonic() - started,
            published=None,
        )
        _note(connection, report)
    return report


def _price(run: measuring.Measuring) -> price.PriceReport:
    """Price the marked hours that are over, each batch in a transaction that also takes it off the list."""
    connection = run.connection
    hours = dirty.hours_marked(connection, PRICE_CAUSES, run.complete_until)
    reports = []
    batches = dirty.runs(hours, run.settings.hours_per_batch)
    for done, batch in enumerate(batches):
        run.progress("price", done, len(batches))
        with warehouse.transaction(connection):
            hints = dirty.causes(connection, batch)
            reports.append(price.price_hours(connection, batch, now=run.now, build=run.settings, hints=hints))
            dirty.clear(connection, batch, PRICE_CAUSES)
    run.progress("price", len(batches), len(batches))
    with warehouse.transaction(connection):
        price.advance_states(connection, now=run.now, build=run.settings)
    return price.PriceReport(
        hours=tuple(hour for report in reports for hour in report.hours),
        revisions=tuple(made for report in reports for made in report.revisions),
        state_changes=tuple(hour for report in reports for hour in report.state_changes),
        withheld=tuple(finding for report in reports for finding in report.withheld),
        warnings=tuple(finding for report in reports for finding in report.warnings),
    )


def _mark_range(run: measuring.Measuring, hours: tuple[datetime, datetime] | None) -> None:
    """Mark the hours that were asked for: measured anew where their samples are still landed, priced anew elsewhere."""
    if hours is None:
        return
    first, end = (reference_data.utc(moment).replace(minute=0, second=0, microsecond=0) for moment in hours)
    wanted = [first + number * HOUR for number in range(max(0, (end - first) // HOUR))]
    landed = {measuring.hour_at(hour) for manifest in run.manifests for hour in manifest.hours_us}
    dirty.mark(run.connection, [hour for hour in wanted if hour in landed], measuring.TELEMETRY, "asked for", run.now)
    dirty.mark(run.connection, [hour for hour in wanted if hour not in landed], "reference", "asked for", run.now)


def _forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop measured hours whose samples retention has deleted: they are priced from what was attributed, for ever."""
    oldest = connection.execute("select min(hour_at) from measured.node_hours").fetchall()[0][0]
    horizon = connection.execute("select max(hour_at) from measured.node_hours").fetchall()[0][0]
    if oldest is None or horizon - oldest <= timedelta(days=8):
        return
    energies = ("gpu_energy", "host_energy", "node_energy")
    for table in (*energies, "series_tokens", "series_hours", "node_hours", "clock_offsets"):
        connection.execute(f"delete from measured.{table} where hour_at < $1", [horizon - timedelta(days=8)])


def _note(connection: duckdb.DuckDBPyConnection, report: BuildReport) -> None:
    connection.execute(
        "update ops.builds set finished_at = $1, hours_built = $2, revisions_made = $3, outcome = 'done', detail = $4 "
        "where build_id = $5",
        [
            datetime.now(UTC).replace(tzinfo=None),
            report.hours_priced,
            report.revisions_made,
            "; ".join(report.withheld) or None,
            report.build_id,
        ],
    )


def _readable(error: duckdb.Error, settings: PipelineSettings) -> Exception:
    """Return what a person can mend as one line; a fault of the SQL itself stays as it is."""
    text = str(error).splitlines()[0]
    if "parquet" in text.lower() or str(settings.landing_dir.resolve()) in text:
        return TokenmillError(f"build stopped at the landing: {text}; restore {settings.landing_dir} from a copy")
    if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
        return TokenmillError(
            f"build stopped at {settings.warehouse_path}: {text}; free disk or memory and run it again, nothing is lost"
        )
    return error


def _silent(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""
