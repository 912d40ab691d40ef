"""Measures how fast a bill loads: `python -m tests.benchmarks.bench_billing [ROWS]`, rows per second and peak memory.

The bill is synthetic FOCUS 1.2 CSV: hourly rows of GPU machines over a month, as one part of a provider's export. The
bound beside it is polars reading the same file as text. Each run has a process of its own, so that peaks are its own.
"""

import argparse
import csv
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from tokenmill_pipeline.billing import load
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import PipelineSettings

ROWS: Final = 800_000
RUNS: Final = 3
HOURS: Final = 31 * 24
START: Final = datetime(2025, 5, 1, tzinfo=UTC)
HEADER: Final = (
    "BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,ChargeCategory,"
    "ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,CommitmentDiscountId,"
    "CommitmentDiscountStatus,ConsumedQuantity,ConsumedUnit,ContractedCost,ContractedUnitPrice,EffectiveCost,InvoiceId,"
    "InvoiceIssuerName,ListCost,ListUnitPrice,PricingCategory,PricingQuantity,PricingUnit,ProviderName,PublisherName,"
    "RegionId,RegionName,ResourceId,ResourceName,ResourceType,ServiceCategory,ServiceName,SkuId,SkuMeter,"
    "SkuPriceDetails,SkuPriceId,SubAccountId,SubAccountName,Tags"
)
COLUMNS: Final = HEADER.count(",") + 1


def write_bill(path: Path, rows: int) -> None:
    """Write a bill of `rows` hourly charges: each machine of a fleet once an hour, and disks beside them."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(HEADER.split(","))
        for number in range(rows):
            writer.writerow(_row(number))


def _row(number: int) -> list[str]:
    start = START + timedelta(hours=number % HOURS)
    machine = number // HOURS
    cost = f"{55.04 - machine % 7 * 0.0123456789:.10f}"
    begin, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (start, start + timedelta(hours=1)))
    details = '{"CoreCount": 192, "InstanceType": "p5.48xlarge", "GpuCount": 8}'
    tags = '{"team": "inference", "cost-center": "1234", "model": "llama"}'
    plain = (
        f"{cost},123456789012,Example Corp,USD,2025-06-01T00:00:00Z,2025-05-01T00:00:00Z,Usage,,"
        f"$55.04 per On Demand Linux p5.48xlarge Instance Hour,Usage-Based,{end},{begin},,,1.0,Hours,{cost},55.04,"
        f"{cost},INV-{machine % 50:04d},Amazon Web Services,{cost},55.04,Standard,1.0,Hours,AWS,AWS,us-east-1,US East,"
        f"arn:aws:ec2:us-east-1:123456789012:instance/i-{machine:017x},,Instance,Compute,Amazon EC2,SKU{machine % 9},"
        "Instance Hours"
    )
    return [*plain.split(","), details, f"SKU{machine % 9}.JRTC", f"{machine % 40:012d}", "sub", tags]


def _load(path: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        settings = PipelineSettings(data_dir=Path(directory), memory_limit_megabytes=2048)
        started = time.perf_counter()
        report = load.load_path(settings, BillingSettings(), path, now=datetime.now(UTC))
        print(time.perf_counter() - started, report.rows_loaded, _peak_megabytes())


def _read_with_polars(path: Path) -> None:
    started = time.perf_counter()
    frame = pl.read_csv(path, infer_schema=False)
    print(time.perf_counter() - started, frame.height, _peak_megabytes())


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measure(what: str, path: Path) -> tuple[list[float], int, float]:
    seconds, rows, peak = [], 0, 0.0
    for _ in range(RUNS):
        out = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.bench_billing", "--only", what, str(path)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        seconds.append(float(out[0]))
        rows, peak = int(out[1]), max(peak, float(out[2]))
    return seconds, rows, peak


def main() -> None:
    """Write the bill, load it in processes of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("rows", nargs="?", type=int, default=ROWS)
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        what, path = arguments.only
        {"load": _load, "polars": _read_with_polars}[what](Path(path))
        return
    with tempfile.TemporaryDirectory() as directory:
        bill = Path(directory) / "bill.csv"
        write_bill(bill, arguments.rows)
        print(f"{arguments.rows:,} rows, {bill.stat().st_size / 1e6:.0f} MB, {COLUMNS} columns, {RUNS} runs\n")
        print(f"{'':28}{'seconds (min-max)':>24}{'rows/s':>12}{'peak MB':>10}")
        for name, what in (("billing load", "load"), ("bound: polars reads text", "polars")):
            seconds, rows, peak = _measure(what, bill)
            spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
            print(f"{name:28}{spread:>24}{rows / statistics.median(seconds):>12,.0f}{peak:>10.0f}")


if __name__ == "__main__":
    main()
