"""How long one hour takes to measure, beside a plain scan of the same columns and beside polars.

    python -m tests.benchmarks.bench_measure [GPUS ...]      # default 1000 10000; REPEATS=5 in the environment

Every contender runs in a process of its own, so that its peak memory is its own. The hour lies as merging leaves it, in
sorted files of ten minutes, with 0.5 % copies, gaps and counters that fall. ORDER=arrival keeps the order of arrival.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from tests.benchmarks.table import Measurement, print_table
from tokenmill_pipeline import fleet, inputs, measuring, warehouse
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings
from tokenmill_pipeline.landing_schema import TABLES

HOUR: Final = datetime(2026, 3, 1, 10)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
HOUR_US: Final = int(HOUR.replace(tzinfo=UTC).timestamp()) * 1_000_000
GPUS_PER_NODE: Final = 8
COLUMNS: Final = (
    "series_key", "run_key", "monotonic_us", "sampled_at_us", "energy_counter_millijoules",
    "energy_integrated_millijoules", "integrated_us", "sm_utilization_percent",
)  # fmt: skip
THREADS: Final = 2
COMMAND: Final = (sys.executable, "-m", "tests.benchmarks.bench_measure")


def main(arguments: list[str]) -> None:
    """Measure every size with every contender and print one table."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(_one(arguments[1], Path(arguments[2]))))
        return
    if arguments[:1] == ["--land"]:
        _land(Path(arguments[1]), int(arguments[2]))
        return
    repeats = int(os.environ.get("REPEATS", "5"))
    found: list[Measurement] = []
    for gpus in [int(text) for text in arguments] or [1000, 10_000]:
        with tempfile.TemporaryDirectory(prefix="bench-measure-") as folder:
            # In a process of its own: a child's peak memory begins with its parent's.
            subprocess.run([*COMMAND, "--land", folder, str(gpus)], check=True)
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("scan", "measure", "polars")}
            for _ in range(repeats):
                for name, results in runs.items():
                    results.append(_run(name, Path(folder)))
            found += [
                Measurement(
                    name=f"{gpus:,} GPUs: {name}",
                    seconds=[result["seconds"] for result in results],
                    peak_bytes=max(int(result["peak_bytes"]) for result in results),
                    rows=int(results[0]["rows"]),
                )
                for name, results in runs.items()
            ]
    print_table(found)
    _print_ratios(found)


def _print_ratios(found: list[Measurement]) -> None:
    for scan, measure in zip(found[::3], found[1::3], strict=True):
        print(f"{measure.name}: {measure.median / scan.median:.1f} times the plain scan")


def _run(name: str, folder: Path) -> dict[str, float]:
    output = subprocess.run(
        [*COMMAND, "--one", name, str(folder)],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def _one(name: str, folder: Path) -> dict[str, float]:
    contender = {"scan": _scan, "measure": _measure, "polars": _polars}[name]
    seconds, rows = contender(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak_bytes": peak, "rows": rows}


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob("samples-*.parquet"))


def _scan(folder: Path) -> tuple[float, int]:
    connection = duckdb.connect(config={"threads": THREADS})
    sums = ", ".join(f"sum({name})" for name in COLUMNS)
    started = time.perf_counter()
    rows = connection.execute(
        f"select count(*), {sums} from read_parquet($files)", {"files": _files(folder)}
    ).fetchall()
    return time.perf_counter() - started, rows[0][0]


def _measure(folder: Path) -> tuple[float, int]:
    settings = PipelineSettings(data_dir=folder / f"data-{os.getpid()}", threads=THREADS, memory_limit_megabytes=650)
    with warehouse.writer_lock(settings), warehouse.open_warehouse(settings) as connection:
        connection.execute(
            "insert into measured.gpu_series by name select * from read_parquet($file)",
            {"file": str(folder / "series.parquet")},
        )
        measuring.set_constants(connection, BuildSettings(), FleetSettings())
        inputs.view_new(connection, [])
        fleet.update(connection)
        inputs.view_hours(connection, [], [])
        source = inputs.source("gpu_samples", map(Path, _files(folder)))
        connection.execute(f"create or replace temp view hour_gpu_samples as {source}")
        warehouse.set_hours(connection, [HOUR])
        warehouse.set_variables(connection, {"hours_from_us": HOUR_US, "hours_to_us": HOUR_US + 3_600_000_000})
        started = time.perf_counter()
        with warehouse.transaction(connection):
            warehouse.run_stage(connection, "batch")
            warehouse.run_stage(connection, "measure")
        seconds = time.perf_counter() - started
        rows = connection.execute("select sum(sample_count)::bigint from measured.gpu_energy").fetchall()[0][0]
    return seconds, rows


def _polars(folder: Path) -> tuple[float, int]:
    """Take the same pieces, without the steps for what is suspect: the least that polars would have to do."""
    started = time.perf_counter()
    ordered = pl.col("monotonic_us")
    frame = (
        pl.scan_parquet(_files(folder))
        .select(COLUMNS)
        .group_by("series_key", pl.col("sampled_at_us") // 300_000_000)
        .agg(
            pl.len().alias("rows"),
            ordered.min().alias("first_us"),
            ordered.max().alias("last_us"),
            pl.col("sampled_at_us").min().alias("first_at_us"),
            pl.col("sampled_at_us").max().alias("last_at_us"),
            *[
                expression
                for name in ("energy_counter_millijoules", "energy_integrated_millijoules", "integrated_us")
                for expression in (
                    pl.col(name).get(ordered.arg_min()).alias(f"first_{name}"),
                    pl.col(name).get(ordered.arg_max()).alias(f"last_{name}"),
                )
            ],
            pl.col("energy_counter_millijoules").min().alias("least"),
            pl.col("energy_counter_millijoules").max().alias("greatest"),
            pl.col("run_key").min().alias("least_run"),
            pl.col("run_key").max().alias("greatest_run"),
            pl.col("sm_utilization_percent").max().alias("busy"),
        )
        .collect(engine="streaming")
    )
    return time.perf_counter() - started, int(frame["rows"].sum())


def _land(folder: Path, gpus: int) -> None:
    """Write an hour of samples every ten seconds, in files of ten minutes."""
    connection = duckdb.connect(config={"threads": THREADS})
    connection.execute(
        """
        create table gpus as
        select i as gpu, hash(i)::hugeint % 9000000000000000000 as series_key, 'node-' || (i // $per_node) as node,
            'GPU-' || uuid()::varchar as gpu_uuid
        from range($gpus) as r (i)
        """,
        {"gpus": gpus, "per_node": GPUS_PER_NODE},
    )
    types = {"String": "varchar", "Int32": "integer", "Int64": "bigint", "Float64": "double"}
    known = {
        "series_key": "g.series_key::bigint",
        "run_key": "hash(g.node)::hugeint % 9000000000000000000",
        "node": "g.node",
        "gpu_uuid": "g.gpu_uuid",
        "boot_id": "'boot-' || g.node",
        "run_id": "'run-' || g.node",
        "sequence": "s.tick",
        "sampled_at_us": "$hour + s.tick * 10000000 + g.gpu % 1000",
        "monotonic_us": "86400000000 + s.tick * 10000000 + g.gpu % 1000",
        "energy_counter_millijoules":
            "case when g.gpu % 5000 = 7 and s.tick > 200 then s.tick * 5000000 else 100000000000 + s.tick * 5000000 "
            "+ (hash(g.gpu + s.tick) % 100000)::bigint end",
        "energy_integrated_millijoules": "s.tick * 5000000 + (hash(g.gpu * s.tick) % 100000)::bigint",
        "integrated_us": "s.tick * 10000000",
        "power_mean_milliwatts": "500000 + (hash(g.gpu + s.tick) % 50000)::bigint",
        "power_max_milliwatts": "550000 + (hash(g.gpu + s.tick) % 50000)::bigint",
        "sm_utilization_percent": "(hash(g.gpu + s.tick) % 100)::bigint",
        "topic": "'tokenmill.gpu-power'",
        "partition": "g.gpu % 12",
        "offset": "s.tick",
        "appended_at_us": "$hour + s.tick * 10000000 + 5000",
    }  # fmt: skip
    columns = ", ".join(
        f'({known.get(name, "null")})::{types[type(kind).__name__]} as "{name}"'
        for name, kind in TABLES["gpu_samples"].items()
    )
    order = "s.tick, hash(g.node, s.tick)" if os.environ.get("ORDER") == "arrival" else "g.series_key, s.tick"
    for part in range(6):
        connection.execute(
            f"""
            copy (
                select {columns}
                from range({part * 60}, {part * 60 + 60}) as s (tick)
                cross join gpus as g
                cross join range(2) as c (copy)
                where (c.copy = 0 or hash(g.gpu, s.tick) % 200 = 0)
                    and not (g.gpu % 100 = 3 and s.tick between 90 and 150)
                order by {order}
            ) to '{folder}/samples-{part:02}.parquet' (format parquet, compression zstd)
            """.replace("$hour", str(HOUR_US))
        )
    connection.execute(
        f"""
        copy (
            select series_key::bigint as series_key, node, gpu_uuid, 'boot-' || node as boot_id,
                '580' as driver_version, 1::bigint as nvml_generation, 'gpu' as energy_scope,
                700000::bigint as power_limit_milliwatts,
                false as simulated
            from gpus
        ) to '{folder}/series.parquet' (format parquet)
        """
    )


if __name__ == "__main__":
    main(sys.argv[1:])
