"""Loads what a provider sends: every row of a bill becomes a charge or a refusal with its reason."""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import duckdb

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.billing import charges, deliveries, marking, prices, source
from tokenmill_pipeline.billing.deliveries import Delivery
from tokenmill_pipeline.billing.options import OPTIONS_FILE, LoadOptions, Mode, read_options
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.billing.source import BillFile, Malformed
from tokenmill_pipeline.config import PipelineSettings
from tokenmill_pipeline.reference_data import canonical_provider, utc

COSTS: Final = ("billed_cost", "effective_cost", "list_cost", "contracted_cost")
Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load did. Rows read = loaded + set aside + those of deliveries that were loaded before.

    Totals are by billing currency and cost column, exact: currencies are never added. `reasons` counts what was set
    aside, `flags` what is odd about rows that were kept. `price_entries` is what a price file changed, by table.
    """

    path: Path
    kind: Literal["bill", "prices"]
    changed: bool
    deliveries: tuple[Delivery, ...] = ()
    superseded: tuple[str, ...] = ()
    rows_loaded: int = 0
    rows_set_aside: int = 0
    reasons: Mapping[str, int] = dataclasses.field(default_factory=dict)
    flags: Mapping[str, int] = dataclasses.field(default_factory=dict)
    totals: Mapping[str, Mapping[str, Decimal]] = dataclasses.field(default_factory=dict)
    totals_set_aside: Mapping[str, Mapping[str, Decimal]] = dataclasses.field(default_factory=dict)
    price_entries: Mapping[str, int] = dataclasses.field(default_factory=dict)
    hours_marked: int = 0
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(slots=True, kw_only=True)
class _Plan:
    """What a load will do with each file: read it, or leave the deliveries that it is already."""

    mode: Mode
    read: dict[int, BillFile] = dataclasses.field(default_factory=dict)
    kept: list[Delivery] = dataclasses.field(default_factory=list)
    outdated: set[str] = dataclasses.field(default_factory=set)
    malformed: dict[int, list[Malformed]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


def load_path(
    settings: PipelineSettings,
    billing: BillingSettings,
    path: Path,
    *,
    options: LoadOptions | None = None,
    now: datetime,
    progress: Progress | None = None,
) -> LoadReport:
    """Load a price file (`.toml`) or a bill: a CSV or Parquet file, a directory of its parts, or a pattern.

    Raises:
        UsageError: the path or what it holds cannot be right; the sentence names the file and what to do.
        TokenmillError: another process is writing, or the disk is full.
    """
    try:
        return _load_path(
            settings, billing, path, options=options or LoadOptions(), now=now, progress=progress or _silent
        )
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise TokenmillError(
            f"{path} could not be stored in {settings.warehouse_path}: {reason}; nothing of it was kept"
        ) from error


def load_inbox(
    settings: PipelineSettings, billing: BillingSettings, *, now: datetime, progress: Progress | None = None
) -> list[LoadReport]:
    """Load everything in `[billing] inbox_dir` that is new, a directory there as one bill in parts.

    What cannot be loaded stops nothing else; it is told when the rest is done.

    Raises:
        UsageError: no inbox is configured, or something in it cannot be right.
    """
    if billing.inbox_dir is None:
        raise UsageError("[billing] inbox_dir is not set: name the directory in which bills and price files arrive")
    if not billing.inbox_dir.is_dir():
        raise UsageError(f"[billing] inbox_dir: {billing.inbox_dir} is no directory")
    reports, problems = [], []
    for item in sorted(item for item in billing.inbox_dir.iterdir() if not item.name.startswith(".")):
        try:
            reports.append(load_path(settings, billing, item, now=now, progress=progress))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(
            f"{len(problems)} of {len(problems) + len(reports)} could not be loaded: {'; '.join(problems)}"
        )
    return reports


def _load_path(
    settings: PipelineSettings,
    billing: BillingSettings,
    path: Path,
    *,
    options: LoadOptions,
    now: datetime,
    progress: Progress,
) -> LoadReport:
    if path.suffix.lower() == ".toml":
        entries = prices.read(path)
        with warehouse.writer_lock(settings), warehouse.open_warehouse(settings) as connection:
            return load_prices(connection, path, entries, billing, now=now)
    bills, others = source.find(path)
    inspected = _inspect(bills, progress)
    with (
        warehouse.writer_lock(settings),
        warehouse.open_warehouse(settings) as connection,
        tempfile.TemporaryDirectory(prefix="bill-", dir=settings.data_dir) as work_dir,
    ):
        report = load_bills(
            connection,
            inspected,
            options.over(read_options(path)),
            billing,
            work_dir=Path(work_dir),
            now=now,
            progress=progress,
        )
    unread = ", ".join(item.name for item in others if item.name != OPTIONS_FILE)
    notes = (*report.notes, f"passed over {unread}: neither CSV nor Parquet") if unread else report.notes
    return dataclasses.replace(report, path=path, notes=notes)


def load_prices(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    entries: prices.PriceFile,
    billing: BillingSettings,
    *,
    now: datetime,
) -> LoadReport:
    """Load the entries of a price file; entries that are there already change nothing."""
    outcome = prices.store(connection, path, entries, billing.provider_names, now=utc(now))
    return LoadReport(
        path=path,
        kind="prices",
        changed=bool(outcome.changed),
        price_entries=outcome.changed,
        hours_marked=outcome.hours_marked,
        notes=outcome.notes,
    )


def load_bills(
    connection: duckdb.DuckDBPyConnection,
    bills: Sequence[BillFile],
    options: LoadOptions,
    billing: BillingSettings,
    *,
    work_dir: Path,
    now: datetime,
    progress: Progress | None = None,
) -> LoadReport:
    """Load the files of one bill in one transaction; a file whose content is there already changes nothing.

    Raises:
        UsageError: a file lacks what no flag supplies, or was loaded before under other flags.
    """
    moment = utc(now)
    plan = _plan(connection, bills, options, billing)
    charges.prepare(connection)
    for index, bill in plan.read.items():
        (progress or _silent)(f"reading {bill.name}")
        plan.malformed[index] = source.stage(
            connection, bill, malformed_rows_max=billing.malformed_rows_max, work_dir=work_dir
        )
        charges.gather(
            connection,
            bill.shape,
            file_index=index,
            fallbacks=charges.Fallbacks(provider=options.provider, account=options.account, currency=options.currency),
            provider_names=billing.provider_names,
            payload_characters_max=billing.payload_characters_max,
        )
        source.unstage(connection)
    (progress or _silent)("storing charges")
    with warehouse.transaction(connection):
        return _store(connection, plan, options, bills[0].path, moment)


def _inspect(paths: Sequence[Path], progress: Progress) -> list[BillFile]:
    bills: dict[str, BillFile] = {}
    for path in paths:
        progress(f"checking {path.name}")
        bill = source.inspect(path)
        if bill.digest in bills:
            raise UsageError(f"{path} and {bills[bill.digest].path} are the same file: remove one of them")
        bills[bill.digest] = bill
    return list(bills.values())


def _plan(
    connection: duckdb.DuckDBPyConnection, bills: Sequence[BillFile], options: LoadOptions, billing: BillingSettings
) -> _Plan:
    plan = _Plan(mode=options.delivery or "append")
    for index, bill in enumerate(bills):
        earlier = deliveries.with_digest(connection, bill.digest)
        current = [delivery for delivery in earlier if delivery.superseded_at is None]
        differs = _other_flags(connection, bill, current, options, billing)
        if plan.mode == "replace" and (differs or not current):
            plan.outdated.update(delivery.delivery_id for delivery in current)
            _check_flags(bill, options)
            plan.read[index] = bill
        elif differs:
            raise UsageError(
                f"{bill.path} was loaded before under other flags ({differs}): its money would count twice; "
                "say --delivery replace to load it anew under these"
            )
        elif current:
            plan.kept.extend(current)
        elif earlier:
            plan.notes.append(
                f"{bill.name} was loaded on {earlier[0].loaded_at:%Y-%m-%d} and has been replaced since: "
                "it is left out (--delivery replace brings it back)"
            )
        else:
            _check_flags(bill, options)
            plan.read[index] = bill
    return plan


def _other_flags(
    connection: duckdb.DuckDBPyConnection,
    bill: BillFile,
    current: Sequence[Delivery],
    options: LoadOptions,
    billing: BillingSettings,
) -> str:
    """Return how the deliveries that a file is already differ from what the flags would make of it."""
    if not current:
        return ""
    differences = []
    provider = canonical_provider(options.provider, billing.provider_names) if options.provider else None
    if provider and not (bill.shape.has("ProviderName") or bill.shape.has("ServiceProviderName")):
        differences += [f"provider {d.provider}" for d in current if d.provider != provider]
    if options.account and not bill.shape.has("BillingAccountId"):
        differences += [f"account {d.account}" for d in current if d.account != options.account]
    if options.currency and not bill.shape.has("BillingCurrency"):
        found = deliveries.currencies_of(connection, [delivery.delivery_id for delivery in current])
        differences += [f"currency {code}" for code in sorted(found - {options.currency.upper()})]
    return ", ".join(dict.fromkeys(differences))


def _check_flags(bill: BillFile, options: LoadOptions) -> None:
    needed = {
        "--currency": options.currency or bill.shape.has("BillingCurrency"),
        "--provider": options.provider
        or any(bill.shape.has(name) for name in ("ServiceProviderName", "ProviderName", "InvoiceIssuerName")),
        "--account": options.account or bill.shape.has("BillingAccountId"),
    }
    columns = {"--currency": "BillingCurrency", "--provider": "ProviderName", "--account": "BillingAccountId"}
    if missing := [flag for flag, given in needed.items() if not given]:
        raise UsageError(
            f"{bill.path} has no column {', '.join(columns[flag] for flag in missing)}: say {', '.join(missing)}"
        )


def _store(
    connection: duckdb.DuckDBPyConnection, plan: _Plan, options: LoadOptions, path: Path, now: datetime
) -> LoadReport:
    until = None if options.data_until_at is None else utc(options.data_until_at)
    reasons = _refuse(connection, plan, now)
    made = deliveries.insert(
        connection,
        plan.read,
        {index: sum(counts.values()) for index, counts in reasons.items()},
        mode=plan.mode,
        data_until_at=until,
        is_closed=options.is_closed,
        now=now,
    )
    kept = [
        deliveries.update(connection, delivery, data_until_at=until, is_closed=options.is_closed)
        for delivery in plan.kept
    ]
    replaced = deliveries.supersede(connection, [*made, *kept], plan.outdated, now) if plan.mode == "replace" else {}
    updated = [delivery.delivery_id for delivery in kept if delivery.status == "updated"]
    sources = {delivery_id: delivery_id for delivery_id in (*(d.delivery_id for d in made), *updated)}
    marked = marking.mark_deliveries(connection, {**sources, **replaced}, now)
    notes = [*plan.notes, *_notes(connection, made, kept, options)]
    return LoadReport(
        path=path,
        kind="bill",
        changed=bool(made or replaced or updated),
        deliveries=tuple(sorted((*made, *kept), key=lambda d: (d.billing_period_start_at, d.provider, d.account))),
        superseded=tuple(sorted(replaced)),
        rows_loaded=sum(delivery.row_count for delivery in made),
        rows_set_aside=sum(sum(counts.values()) for counts in reasons.values()),
        reasons=_added(reasons.values()),
        flags=_flags(connection),
        totals=_totals(connection, "reason is null"),
        totals_set_aside=_totals(connection, "reason is not null"),
        hours_marked=marked,
        notes=tuple(notes),
    )


def _notes(
    connection: duckdb.DuckDBPyConnection, made: Sequence[Delivery], kept: Sequence[Delivery], options: LoadOptions
) -> list[str]:
    notes = [
        f"{delivery.file_name} is loaded already as {delivery.delivery_id}: nothing to do"
        for delivery in kept
        if delivery.status == "unchanged"
    ]
    for delivery in made:
        name = f"{delivery.provider} {delivery.account} {delivery.billing_period_start_at:%Y-%m}"
        if delivery.numerator_reason is not None:
            notes.append(f"{name}: {delivery.numerator_reason}; BilledCost is the numerator")
        if options.delivery is None and (others := deliveries.count_others(connection, delivery, [*made, *kept])):
            notes.append(
                f"{name}: added to {others} earlier {'delivery' if others == 1 else 'deliveries'}; "
                "if the file replaces them, load it again with --delivery replace"
            )
    return notes


def _refuse(connection: duckdb.DuckDBPyConnection, plan: _Plan, now: datetime) -> dict[int, dict[str, int]]:
    """Store the refused rows of every file that was read and return their number by file and reason."""
    reasons: dict[int, dict[str, int]] = {}
    for index, bill in plan.read.items():
        # A file is read again only where it replaces itself or nothing of it was kept: its refusals are written anew.
        connection.execute("delete from billing.rejected_rows where file_digest = $digest", {"digest": bill.digest})
        connection.execute(
            """
            insert into billing.rejected_rows by name
            select
                $file_name as file_name, $file_digest as file_digest, row_number, reason, detail, billed_cost,
                effective_cost, payload, $now::timestamp as rejected_at
            from bill_charges
            where file_index = $file_index and reason is not null
            """,
            {"file_name": bill.name, "file_digest": bill.digest, "now": now, "file_index": index},
        )
        if plan.malformed[index]:
            connection.executemany(
                "insert into billing.rejected_rows values ($1, $2, $3, $4, $5, null, null, $6, $7)",
                [
                    [bill.name, bill.digest, row.row_number, row.reason, row.detail, row.payload[:4096], now]
                    for row in plan.malformed[index]
                ],
            )
        counted = connection.execute(
            "select reason, count(*) from billing.rejected_rows where file_digest = $digest "
            "group by reason order by reason",
            {"digest": bill.digest},
        ).fetchall()
        if counted:
            reasons[index] = dict(counted)
    return reasons


def _flags(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = connection.execute(
        "select flag, count(*) from (select unnest(flags) as flag from bill_charges where reason is null) "
        "group by flag order by flag"
    ).fetchall()
    return dict(rows)


def _totals(connection: duckdb.DuckDBPyConnection, condition: str) -> dict[str, dict[str, Decimal]]:
    sums = ", ".join(f"coalesce(sum({cost}), 0)" for cost in COSTS)
    rows = connection.execute(
        f"select coalesce(billing_currency, '(unknown)'), {sums} from bill_charges where {condition} "
        "group by all order by all"
    ).fetchall()
    return {currency: dict(zip(COSTS, map(Decimal, amounts), strict=True)) for currency, *amounts in rows}


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for item in counts:
        total.update(item)
    return dict(sorted(total.items()))


def _silent(_step: str) -> None:
    """Say nothing of the progress."""


__all__ = [
    "COSTS",
    "LoadOptions",
    "LoadReport",
    "Progress",
    "load_bills",
    "load_inbox",
    "load_path",
    "load_prices",
]
