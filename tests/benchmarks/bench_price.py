"""Measures pricing and publishing at a year of 50 models on 4 generations: `python -m tests.benchmarks.bench_price`.

One hour is priced by the real code; the year is that hour shifted, so that the tables have their real size without an
hour of building. `HOURS=720` makes it a month.
"""

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.table import Measurement, print_table
from tests.priced import H0, HOUR, Priced
from tokenmill_pipeline import publish
from tokenmill_pipeline.config import PipelineSettings

MODELS: Final = 50
GENERATIONS: Final = (("H100", "Hopper"), ("B200", "Blackwell"), ("MI300X", "CDNA3"), ("MI355X", "CDNA4"))
HOURS: Final = int(os.environ.get("HOURS", "8760"))
RUNS: Final = 5
SHIFTED: Final = (
    "hourly.unit_use",
    "hourly.unit_tokens",
    "hourly.charge_lines",
    "hourly.unit_economics",
    "hourly.revisions",
    "marts.hourly_economics",
    "marts.telemetry_coverage",
)


def main() -> int:
    """Measure, print a table, and say what one restated hour costs with little and with much history."""
    directory = Path(tempfile.mkdtemp(prefix="tokenmill-bench-"))
    try:
        found = _measure(PipelineSettings(data_dir=directory, threads=2, memory_limit_megabytes=4096))
        print_table(found)
    finally:
        shutil.rmtree(directory)
    return 0


def _measure(settings: PipelineSettings) -> list[Measurement]:
    priced = Priced(settings.warehouse_path)
    _fill_hour(priced)
    cells = MODELS * len(GENERATIONS)
    found = [
        _timed("price one new hour", RUNS, cells, lambda run: _restate(priced, run)),
        _timed("price 24 hours in one batch", 3, 24 * cells, lambda run: _day(priced, run)),
    ]
    _shift(priced, HOURS)
    rows = priced.one("select count(*) from marts.hourly_economics")
    found.append(
        _timed(f"restate one hour, {HOURS:,} h of history", RUNS, cells, lambda run: _restate(priced, run + 50))
    )
    _close(priced)
    found.append(_timed("publish whole", 1, rows, lambda _run: publish.publish(settings, full=True)))
    size = settings.published_path.stat().st_size
    found.append(_publish_changes(settings, rows))
    load = os.getloadavg()[0]
    print(f"{rows:,} mart rows; published file {size / 1e6:,.0f} MB; {os.cpu_count()} cores, load {load:.1f}")
    return found


def _fill_hour(priced: Priced) -> None:
    """Write one hour: a node of 8 GPUs per model and generation, half of them billed, half on a rate card."""
    for number, (sku, generation) in enumerate(GENERATIONS):
        if sku not in ("H100", "B200"):
            priced.sku(sku, generation, 202306 + number, 1390)
        for model in range(MODELS):
            unit: dict[str, Any] = {
                "deployment": f"serve-{model}",
                "replica": f"{sku}-0",
                "model_served": f"model-{model}",
            }
            provider = "aws" if number % 2 == 0 else "coreweave"
            place: dict[str, Any] = {"node": f"{sku}-{model}", "provider": provider, "gpu_sku": sku}
            priced.use(gpu_hours=7, joules=1.5e7, **unit, **place)
            priced.use(gpu_hours=1, joules=1e6, bucket="idle", **place)
            priced.tokens(9_000_000 + model, 1_000_000, provider=provider, cached_input_tokens=4_000_000, **unit)
            if provider == "aws":
                priced.charge("16.123456789", resource_id=f"i-{sku}-{model}")
                priced.link(f"i-{sku}-{model}", f"{sku}-{model}")
    priced.charge("50", charge_category="Tax")
    priced.rate("rate_card", 2.49, provider="coreweave")
    priced.price()


def _restate(priced: Priced, run: int) -> None:
    """Deliver a correction of one charge and price its hour."""
    priced.charge("0.25", delivery_id=f"correction-{run}", charge_class="Correction", resource_id="i-H100-0")
    report = priced.price(H0, now=H0 + timedelta(hours=100 + run))
    if len(report.revisions) != 1 or report.withheld:
        raise SystemExit(f"the hour was not restated: {report}")


def _day(priced: Priced, run: int) -> None:
    """Price a day of hours that are like the first."""
    first = H0 + (100 + 24 * run) * HOUR
    _copy(priced, ("hourly.unit_use", "hourly.unit_tokens"), first, 24)
    report = priced.price(*(first + number * HOUR for number in range(24)))
    if len(report.revisions) != 24:
        raise SystemExit(f"not every hour was priced: {report}")


def _shift(priced: Priced, hours: int) -> None:
    """Make the hour's rows those of a whole year before it, and a bill as long as that."""
    _copy(priced, SHIFTED, H0 - hours * HOUR, hours - 1)
    priced.connection.execute(
        "insert into billing.charges by name select c.* replace (c.charge_period_start_at - to_hours(n) "
        "as charge_period_start_at, c.charge_period_end_at - to_hours(n) as charge_period_end_at, "
        "c.row_number + 1000 * n as row_number) from billing.charges as c cross join range(1, $1) as r(n)",
        [hours],
    )
    priced.connection.execute(
        "insert into ops.changed_hours select hour_at, 1 from hourly.revisions on conflict do nothing"
    )


def _copy(priced: Priced, tables: tuple[str, ...], first: datetime, hours: int) -> None:
    for table in tables:
        current = "and revision = 1" if table in ("hourly.unit_economics", "hourly.revisions") else ""
        unsuperseded = "and superseded_at is null" if table == "hourly.revisions" else ""
        if current:
            number = priced.one(f"select max(revision) from hourly.revisions where hour_at = '{H0}'")
            current = f"and revision = {number}"
        priced.connection.execute(
            f"insert into {table} by name select t.* replace ($first::timestamp + to_hours(n) as hour_at) "
            f"from {table} as t cross join range($hours) as r(n) "
            f"where hour_at = $at {current} {unsuperseded} order by n",
            {"first": first, "hours": hours, "at": H0},
        )


def _close(priced: Priced) -> None:
    priced.connection.execute("checkpoint")
    priced.connection.close()


def _publish_changes(settings: PipelineSettings, rows: int) -> Measurement:
    seconds = []
    for run in range(3):
        priced = Priced(settings.warehouse_path)
        _restate(priced, run + 100)
        _close(priced)
        report = publish.publish(settings)
        if report.made != "changed_hours":
            raise SystemExit(f"the publication was not carried on: {report}")
        seconds.append(report.seconds)
    return Measurement(name="publish one changed hour", seconds=seconds, peak_bytes=_peak(), rows=rows)


def _timed(name: str, runs: int, rows: int, work: Callable[[int], object]) -> Measurement:
    seconds = []
    for run in range(runs):
        started = time.perf_counter()
        work(run)
        seconds.append(time.perf_counter() - started)
        print(f"{name}: {seconds[-1]:.2f} s", file=sys.stderr)
    return Measurement(name=name, seconds=seconds, peak_bytes=_peak(), rows=rows)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
