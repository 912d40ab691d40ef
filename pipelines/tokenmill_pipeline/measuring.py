"""The two steps without money: takes in new slices, measures the hours they touch, attributes what they hold.

An hour is measured from its own landed samples alone. It is attributed from its measured pieces and the nearest ones on
either side; so when the first or last sample of a series in an hour moves, the hours up to its neighbour are marked.
"""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb

from tokenmill_pipeline import dirty, fleet, inputs, landing, warehouse
from tokenmill_pipeline.config import BuildSettings, FleetSettings
from tokenmill_pipeline.dirty import HOUR

Progress = Callable[[str, int, int], None]

TELEMETRY: Final = "telemetry"
EDGES: Final = "edges"
ATTRIBUTE_CAUSES: Final = (TELEMETRY, EDGES)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """One build's view of the landing, its settings and the moment that it takes for now (UTC, without a zone)."""

    connection: duckdb.DuckDBPyConnection
    manifests: Sequence[landing.SliceManifest]
    settings: BuildSettings
    now: datetime
    progress: Progress

    @property
    def complete_until(self) -> datetime:
        """Return the moment before which an hour must begin to be over, with its grace."""
        return self.now - timedelta(seconds=self.settings.grace_seconds) - HOUR + timedelta(microseconds=1)


def set_constants(connection: duckdb.DuckDBPyConnection, build: BuildSettings, fleet_settings: FleetSettings) -> None:
    """Set the variables that the models read."""
    warehouse.set_variables(
        connection,
        {
            "clock_offset_tolerance_us": int(build.clock_offset_tolerance_seconds * 1e6),
            "slot_tolerance_us": build.slot_tolerance_seconds * 1_000_000,
            "tokens_per_second_per_gpu_max": build.tokens_per_second_per_gpu_max,
            "power_limit_factor": build.power_limit_factor,
            "energy_cross_check_share": build.energy_cross_check_share,
            "vantage_cross_check_share": build.vantage_cross_check_share,
            "require_confirmation": fleet_settings.require_confirmation,
            "hours_from_us": 0,
            "hours_to_us": 0,
        },
    )


def take_in(run: Measuring) -> int:
    """Bring the inventory up to date from slices that no build has seen, mark their hours and return their number."""
    connection = run.connection
    seen = {row[0] for row in connection.execute("select slice from ops.seen_slices").fetchall()}
    new = landing.unseen(run.manifests, seen)
    with warehouse.transaction(connection):
        inputs.view_new(connection, new)
        fleet.update(connection)
        offsets = _offsets_us(connection)
        touched = {hour for manifest in new for hour in _hours_of(manifest, offsets)}
        dirty.mark(connection, touched, TELEMETRY, "landing", run.now)
        connection.execute("delete from ops.seen_slices")
        connection.execute(
            "insert into ops.seen_slices select unnest($names::varchar[]), $now::timestamp",
            {"names": [manifest.name for manifest in run.manifests], "now": run.now},
        )
    return len(new)


def measure(run: Measuring) -> list[datetime]:
    """Measure the dirty hours that are over, and what there is of the hour after each: its first sample ends theirs."""
    connection = run.connection
    marked = dirty.hours_marked(connection, (TELEMETRY,), run.now)
    over = {hour for hour in marked if hour < run.complete_until}
    wanted = [hour for hour in marked if hour in over or hour - HOUR in over]
    batches = dirty.runs(wanted, run.settings.hours_per_batch)
    for done, batch in enumerate(batches):
        run.progress("measure", done, len(batches))
        _measure_batch(run, batch)
    run.progress("measure", len(batches), len(batches))
    return [hour for hour in wanted if hour in over]


def attribute(run: Measuring) -> list[datetime]:
    """Attribute every dirty hour that is over; return them, still marked: pricing takes them off the list."""
    hours = dirty.hours_marked(run.connection, ATTRIBUTE_CAUSES, run.complete_until)
    batches = dirty.runs(hours, run.settings.hours_per_batch)
    for done, batch in enumerate(batches):
        run.progress("attribute", done, len(batches))
        with warehouse.transaction(run.connection):
            _set_batch(run.connection, batch)
            warehouse.run_stage(run.connection, "attribute")
    run.progress("attribute", len(batches), len(batches))
    return hours


def _measure_batch(run: Measuring, batch: Sequence[datetime]) -> None:
    connection = run.connection
    with warehouse.transaction(connection):
        _set_batch(connection, batch)
        inputs.view_hours(connection, run.manifests, _raw_hours_us(connection, batch))
        connection.execute(
            "create or replace temp table work_old_edges as "
            "select * from measured.series_hours where hour_at in (select hour_at from work_hours)"
        )
        warehouse.run_stage(connection, "measure")
        dirty.mark(connection, _neighbours(connection), EDGES, "edges", run.now)


def _set_batch(connection: duckdb.DuckDBPyConnection, batch: Sequence[datetime]) -> None:
    warehouse.set_hours(connection, batch)
    warehouse.set_variables(
        connection, {"hours_from_us": _epoch_us(batch[0]), "hours_to_us": _epoch_us(batch[-1] + HOUR)}
    )
    # What both steps read about the batch is made for each: a build may attribute hours that it does not measure.
    warehouse.run_stage(connection, "batch")


def _neighbours(connection: duckdb.DuckDBPyConnection) -> list[datetime]:
    """Return the hours outside the batch, or in it, whose cut segments changed because an edge of a series moved.

    A first sample that moved changes the hours back to the series' previous sample, or to the start of its process;
    a last one the hours on to its next sample. Hours without telemetry of their own are part of such a gap too.
    """
    rows = connection.execute(
        """
        with changed as (
            select
                coalesce(n.hour_at, o.hour_at) as hour_at,
                coalesce(n.series_key, o.series_key) as series_key,
                n.first_edge is distinct from o.first_edge as is_first_moved,
                n.last_edge is distinct from o.last_edge as is_last_moved
            from (select * from measured.series_hours where hour_at in (select hour_at from work_hours)) as n
            full join work_old_edges as o on n.hour_at = o.hour_at and n.series_key = o.series_key
            where n.first_edge is distinct from o.first_edge or n.last_edge is distinct from o.last_edge
        ),
        starts as (
            select s.series_key, hour_of(epoch_us(max(i.process_started_at))) as started_at
            from measured.token_series as s
            inner join fleet.server_intervals as i on s.server_id = i.server_id and s.node = i.node
            group by s.series_key
        ),
        watched as (select min(hour_at) as hour_at from measured.series_hours),
        reach as (
            select
                c.series_key,
                c.hour_at,
                case when c.is_first_moved then coalesce(
                    max(h.hour_at) filter (h.hour_at < c.hour_at),
                    case
                        when any_value(s.started_at) is not null
                            then greatest(any_value(s.started_at), any_value(w.hour_at))
                    end
                ) end as from_at,
                case when c.is_last_moved then min(h.hour_at) filter (h.hour_at > c.hour_at) end as to_at
            from changed as c
            left join measured.series_hours as h on c.series_key = h.series_key
            left join starts as s on c.series_key = s.series_key
            cross join watched as w
            group by c.series_key, c.hour_at, c.is_first_moved, c.is_last_moved
        ),
        spans as (
            select distinct
                least(coalesce(from_at, hour_at), hour_at) as from_at,
                greatest(coalesce(to_at, hour_at), hour_at) as to_at
            from reach
        )
        select distinct unnest(generate_series(from_at, to_at, interval 1 hour)) as hour_at from spans
        """
    ).fetchall()
    return [row[0] for row in rows]


def _hours_of(manifest: landing.SliceManifest, offsets_us: frozenset[int]) -> set[datetime]:
    samples = {
        hour for table, hours in manifest.table_hours_us.items() if table != "rejected_messages" for hour in hours
    }
    return {hour_at(hour + shift) for hour in samples for shift in _shifts(offsets_us)}


def _raw_hours_us(connection: duckdb.DuckDBPyConnection, batch: Sequence[datetime]) -> set[int]:
    """Return the hours of the nodes' own clocks in which samples of the batch may lie."""
    offsets = _offsets_us(connection)
    return {landing.hour_of(_epoch_us(hour) - shift) for hour in batch for shift in _shifts(offsets)}


def _shifts(offsets_us: frozenset[int]) -> set[int]:
    # A shifted hour straddles two hours of the clock: its start and its end are both looked up.
    return {0} | {
        part for shift in offsets_us for part in (shift, shift - landing.HOUR_US + 1, shift + landing.HOUR_US - 1)
    }


def _offsets_us(connection: duckdb.DuckDBPyConnection) -> frozenset[int]:
    return frozenset(row[0] for row in connection.execute("select distinct offset_us from work_offsets").fetchall())


def hour_at(time_us: int) -> datetime:
    """Return the hour that a time (microseconds since 1970) lies in, in UTC without a zone."""
    return datetime.fromtimestamp(landing.hour_of(time_us) / 1e6, UTC).replace(tzinfo=None)


def _epoch_us(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000
