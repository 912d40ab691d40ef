"""Looks at the landing, the warehouse, the published file and the broker, and says what is right and what is not."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import duckdb

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_pipeline import landing, warehouse
from tokenmill_pipeline.config import PipelineSettings
from tokenmill_pipeline.locks import hold

Verdict = Literal["ok", "look", "bad"]

SILENT: Final = timedelta(minutes=15)
"""A node that was silent for longer is worth a look."""
UNPUBLISHED: Final = timedelta(hours=2)
REASONS_MAX: Final = 20
RIVALS_LOOKED_AT: Final = timedelta(hours=2)
RIVALS_OVERLAP_SECONDS: Final = 30
"""Two runs of an agent that wrote beside each other for longer than this are two agents, not a restart."""
PARQUET_MARK: Final = b"PAR1"
"""The bytes that every Parquet file starts and ends with."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: where, what, how it is, and what to do where it is not right."""

    area: str
    what: str
    value: Any
    verdict: Verdict = "ok"
    remedy: str | None = None


def examine(settings: PipelineSettings, kafka: KafkaSettings | None, *, now: datetime) -> list[Finding]:
    """Return every finding; `kafka` is asked for the lag where it is given."""
    findings = [
        *_as_findings("landing", look_at_landing(settings)),
        *_as_findings("warehouse", look_at_warehouse(settings, now)),
        *_as_findings("published", look_at_published(settings, now), "; run `tokenmill publish`"),
    ]
    return findings if kafka is None else [*findings, *_as_findings("broker", look_at_broker(settings, kafka))]


def look_at_landing(settings: PipelineSettings) -> Iterator[Finding]:
    """Say what has landed, how fresh it is, and what was refused and why."""
    if not settings.landing_dir.is_dir():
        yield Finding(
            area="landing",
            what="directory",
            value=str(settings.landing_dir),
            verdict="bad",
            remedy="nothing was ever ingested here: run `tokenmill ingest`, or name --data-dir",
        )
        return
    with landing.reading(settings.landing_dir) as manifests:
        for kind in ("slice", "merged", "sealed"):
            yield Finding(area="landing", what=f"{kind} directories", value=sum(m.kind == kind for m in manifests))
        rows = {table: sum(m.rows.get(table, 0) for m in manifests) for table in landing.SAMPLE_TABLES}
        yield from (Finding(area="landing", what=f"{table} rows", value=count) for table, count in rows.items())
        if manifests:
            newest = datetime.fromtimestamp(max(m.last_landed_at_us for m in manifests) / 1e6, UTC)
            yield Finding(area="landing", what="last landed at", value=newest)
        damaged = {path: problem for path in _live_files(manifests) if (problem := _damage(path))}
        for path, problem in damaged.items():
            yield Finding(
                area="landing",
                what=f"damaged file: {path}",
                value=problem,
                verdict="bad",
                remedy="restore it from a copy",
            )
        rejected = landing.files_for(manifests, "rejected_messages")
        yield from _refused(settings, [path for path in rejected if path not in damaged])
        yield from _rivals(settings, [] if damaged else manifests)


def look_at_warehouse(settings: PipelineSettings, now: datetime) -> Iterator[Finding]:
    """Say who writes it, what waits to be built, what is withheld, and which billing rows were refused."""
    holder = _writer(settings)
    yield Finding(area="warehouse", what="writer lock", value="free" if holder is None else f"held by process {holder}")
    if not settings.warehouse_path.exists():
        yield Finding(
            area="warehouse",
            what="file",
            value=str(settings.warehouse_path),
            verdict="look",
            remedy="nothing was built yet: run `tokenmill build`",
        )
        return
    try:
        connection = warehouse.connect(settings.warehouse_path, settings, read_only=True)
    except TokenmillError as error:
        yield _unopened(error, is_written=holder is not None or _writer(settings) is not None)
        return
    try:
        yield from _warehouse_contents(connection, now)
    finally:
        connection.close()


def look_at_published(settings: PipelineSettings, now: datetime) -> Iterator[Finding]:
    """Say how old the published file is, which hours it holds and which nodes fell silent."""
    path = settings.published_path
    if not path.exists():
        yield Finding(
            area="published",
            what="file",
            value=str(path),
            verdict="look",
            remedy="nothing was published yet: run `tokenmill build`",
        )
        return
    published_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    yield Finding(
        area="published",
        what="published at",
        value=published_at,
        verdict="look" if now - published_at > UNPUBLISHED else "ok",
        remedy="is `tokenmill serve` running?" if now - published_at > UNPUBLISHED else None,
    )
    connection = warehouse.connect(path, settings, read_only=True)
    try:
        hours = connection.execute("select min(hour_at), max(hour_at) from marts.hourly_economics").fetchall()[0]
        yield Finding(area="published", what="first hour", value=hours[0])
        yield Finding(area="published", what="last hour", value=hours[1])
        yield from _nodes(connection, now)
    finally:
        connection.close()


def look_at_broker(settings: PipelineSettings, kafka: KafkaSettings) -> Iterator[Finding]:
    """Say how many messages wait at the broker, or why it cannot be asked."""
    from tokenmill_pipeline.lag import lag_messages  # noqa: PLC0415 - only where the broker is asked

    try:
        lags = lag_messages(settings.landing_dir, kafka)
    except TokenmillError as error:
        yield Finding(area="broker", what="lag", value=None, verdict="bad", remedy=str(error))
        return
    for topic, count in lags.items():
        yield Finding(area="broker", what=f"{topic} waiting messages", value=count)


def _as_findings(area: str, findings: Iterable[Finding], remedy: str = "") -> Iterator[Finding]:
    """Yield what was found up to the failure, and the failure as a finding, so that the other areas are looked at."""
    try:
        yield from findings
    except (TokenmillError, duckdb.Error, OSError) as error:
        reason = str(error).partition("\n")[0]
        yield Finding(area=area, what="cannot be read", value=None, verdict="bad", remedy=f"{reason}{remedy}")


def _live_files(manifests: Iterable[landing.SliceManifest]) -> Iterator[Path]:
    for manifest in manifests:
        yield from (manifest.path / f"{table}.parquet" for table in manifest.rows)


def _damage(path: Path) -> str | None:
    """Return why a file cannot be whole Parquet, told by its first and last bytes alone."""
    size = len(PARQUET_MARK)
    try:
        with path.open("rb") as handle:
            starts = handle.read(size) == PARQUET_MARK
            handle.seek(max(handle.seek(0, os.SEEK_END) - size, size))
            ends = handle.read(size) == PARQUET_MARK
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if starts and ends else f"does not {'end' if starts else 'start'} with PAR1"


def _writer(settings: PipelineSettings) -> str | None:
    """Return the process that holds the writer lock, None where it is free."""
    with hold(settings.lock_path, wait=False) as is_free:
        return None if is_free else settings.lock_path.read_text(encoding="utf-8").strip()


def _unopened(error: TokenmillError, *, is_written: bool) -> Finding:
    verdict: Verdict
    if is_written:
        verdict, remedy = "look", "it is being written; ask later"
    elif "Could not set lock" in str(error):
        # A program that takes no writer lock, DuckDB's own shell say, has it open.
        verdict, remedy = "look", str(error)
    else:
        verdict, remedy = "bad", str(error)
    return Finding(area="warehouse", what="contents", value=None, verdict=verdict, remedy=remedy)


def _refused(settings: PipelineSettings, paths: list[Path]) -> Iterator[Finding]:
    if not paths:
        yield Finding(area="landing", what="refused messages", value=0)
        return
    found = _landed(
        settings,
        paths,
        "select reason, count(*) from read_parquet($paths) group by all order by count(*) desc, reason limit $most",
    )
    for reason, count in found:
        yield Finding(
            area="landing",
            what=f"refused messages: {reason}",
            value=count,
            verdict="look",
            remedy="raw.rejected_messages in warehouse.duckdb has the payload and where it came from",
        )


def _rivals(settings: PipelineSettings, manifests: list[landing.SliceManifest]) -> Iterator[Finding]:
    """Say on which nodes several agents ran at once in the last two hours that landed.

    The broker's time of live messages tells: what a run left on disk is sent later by another one.
    """
    newest_us = max((manifest.last_landed_at_us for manifest in manifests), default=0)
    oldest_us = newest_us - RIVALS_LOOKED_AT // timedelta(microseconds=1)
    recent = [manifest for manifest in manifests if manifest.last_landed_at_us >= oldest_us]
    if not (paths := landing.files_for(recent, "messages")):
        return
    found = _landed(
        settings,
        paths,
        "with runs as (select node, run_id, min(appended_at_us) as first_us, max(appended_at_us) as last_us "
        "from read_parquet($paths) where delivery = 'live' group by all) "
        "select a.node, count(distinct a.run_id) from runs as a join runs as b on a.node = b.node "
        "and a.run_id <> b.run_id and least(a.last_us, b.last_us) - greatest(a.first_us, b.first_us) > $overlap_us "
        "group by all order by all limit $most",
        overlap_us=RIVALS_OVERLAP_SECONDS * 1_000_000,
    )
    for node, count in found:
        yield Finding(
            area="landing",
            what=f"{node}: agents at once",
            value=count,
            verdict="look",
            remedy="end all but one; if they are several nodes, give each a name of its own in [agent] node",
        )


def _landed(settings: PipelineSettings, paths: list[Path], query: str, **parameters: int) -> list[tuple[Any, ...]]:
    """Return at most `$most` rows of a query over landed files, its `$paths`."""
    connection = warehouse.connect(":memory:", settings)
    try:
        return connection.execute(
            query, {"paths": [str(path) for path in paths], "most": REASONS_MAX, **parameters}
        ).fetchall()
    finally:
        connection.close()


def _warehouse_contents(connection: duckdb.DuckDBPyConnection, now: datetime) -> Iterator[Finding]:
    for cause, count in _query(
        connection, "select cause, count(distinct hour_at) from ops.dirty_hours group by all order by all"
    ):
        yield Finding(area="warehouse", what=f"hours to build: {cause}", value=count)
    for hour_at, provider, check, detail in _query(
        connection,
        "select hour_at, provider, check_name, detail from hourly.withheld where resolved_at is null "
        "order by all limit 20",
    ):
        yield Finding(
            area="warehouse",
            what=f"withheld: {provider} {hour_at:%Y-%m-%d %H:%M}",
            value=f"{check}: {detail}",
            verdict="bad",
            remedy="a sum does not close; the previous revision stays published",
        )
    for reason, count, billed in _query(
        connection,
        "select reason, count(*), sum(billed_cost) from billing.rejected_rows group by all order by 2 desc, 1 limit 20",
    ):
        yield Finding(
            area="billing",
            what=f"refused rows: {reason}",
            value=f"{count} rows, billed {billed if billed is not None else 'unknown'}",
            verdict="look",
            remedy="billing.rejected_rows has each with its detail",
        )
    yield from _deliveries(connection, now)


def _deliveries(connection: duckdb.DuckDBPyConnection, now: datetime) -> Iterator[Finding]:
    for provider, account, until in _query(
        connection,
        "select provider, account, max(data_until_at) from billing.deliveries where superseded_at is null "
        "group by all order by all",
    ):
        age = None if until is None else now.replace(tzinfo=None) - until
        is_old = age is not None and age > timedelta(days=3)
        yield Finding(
            area="billing",
            what=f"{provider} {account}: data until",
            value=until,
            verdict="look" if is_old else "ok",
            remedy="no newer delivery for three days" if is_old else None,
        )


def _nodes(connection: duckdb.DuckDBPyConnection, now: datetime) -> Iterator[Finding]:
    for node, last_seen_at, is_confirmed in _query(
        connection,
        "select node, max(last_seen_at), bool_or(is_confirmed) from fleet.node_intervals group by all order by all",
    ):
        silent = now.replace(tzinfo=None) - last_seen_at
        if silent > SILENT:
            yield Finding(
                area="fleet",
                what=f"{node}: last seen at",
                value=last_seen_at,
                verdict="look",
                remedy="is its agent running, and can it reach Kafka?",
            )
        if not is_confirmed:
            yield Finding(
                area="fleet",
                what=f"{node}: confirmed",
                value=False,
                verdict="look",
                remedy=f"`tokenmill fleet confirm {node}` lets it into the marts",
            )


def _query(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(query).fetchall()
    except duckdb.CatalogException:
        # An older warehouse lacks the relation until its next build.
        return []
