"""Prints what the demo made: both tables, the reconciliation, the coverage, and queries to try."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import PipelineSettings
from tokenmill_pipeline.tables import Output

HOURS_SHOWN: Final = 2

COST: Final = """
    select hour_at, gpu_generation, model, cost_per_million_tokens, all_in_cost_per_million_tokens, currency,
        total_tokens, gpu_hours_paid, cost_status, token_coverage
    from marts.hourly_cost_per_token
    where hour_at >= $since
    order by hour_at, model, gpu_generation
"""
POWER: Final = """
    select hour_at, gpu_generation, model, tokens_per_second_per_megawatt_gpu, tokens_per_megawatt_hour_gpu,
        joules_per_token, gpu_energy_joules, energy_method, energy_coverage
    from marts.hourly_tokens_per_megawatt
    where hour_at >= $since
    order by hour_at, model, gpu_generation
"""
RECONCILIATION: Final = """
    select provider, day, view, currency, charges_cost, serving_cost, idle_cost, unobserved_cost, overhead_cost,
        residual_cost
    from marts.cost_reconciliation
    order by provider, day, view
"""
COVERAGE: Final = """
    select node, count(*) as hours, avg(observed_share) as observed_share, avg(token_coverage) as token_coverage,
        avg(energy_coverage) as energy_coverage, sum(message_count)::bigint as messages,
        sum(missing_message_count)::bigint as missing_messages
    from marts.telemetry_coverage group by node order by node
"""
LIVE: Final = """
    select node, delivery, count(*) as messages, sum(sample_rows)::bigint as sample_rows,
        make_timestamp(min(first_sampled_at_us)) as first_sampled_at,
        make_timestamp(max(last_sampled_at_us)) as last_sampled_at
    from raw.messages group by all order by all
"""

QUERIES: Final = (
    """select gpu_generation, model, sum(matched_effective_cost) / sum(cost_matched_tokens) * 1e6 as cost_per_million
    from marts.hourly_cost_per_token where cost_matched_tokens > 0 group by all order by all""",
    """select hour(hour_at) as hour_of_day, gpu_generation, sum(total_tokens) / 1e6 as million_tokens
    from marts.hourly_tokens_per_megawatt group by all order by all""",
    """select model, gpu_generation, sum(gpu_hours_paid) as gpu_hours_paid, sum(effective_cost) as effective_cost
    from marts.hourly_cost_per_token group by all order by all""",
)
"""Three questions worth asking: the ratio over all hours from matched sums, the day's wave, what idles."""


def show(settings: PipelineSettings, end_at: datetime, output: Output) -> None:
    """Print the last hours of both tables and what stands around them."""
    since = {"since": end_at.replace(tzinfo=None) - timedelta(hours=HOURS_SHOWN)}
    with _opened(settings.published_path, settings) as connection:
        _print(connection, output, f"marts.hourly_cost_per_token, the last {HOURS_SHOWN} hours (UTC)", COST, since)
        _print(
            connection, output, f"marts.hourly_tokens_per_megawatt, the last {HOURS_SHOWN} hours (UTC)", POWER, since
        )
        _print(connection, output, "marts.cost_reconciliation", RECONCILIATION, {})
        _print(connection, output, "marts.telemetry_coverage, every hour", COVERAGE, {})
    with _opened(settings.warehouse_path, settings) as connection:
        _print(connection, output, "raw.messages: the history, and the nodes live", LIVE, {})


def headline(settings: PipelineSettings) -> dict[str, Any]:
    """Return how much was published, for machines."""
    with _opened(settings.published_path, settings) as connection:
        rows, hours, tokens = connection.execute(
            "select count(*), count(distinct hour_at), sum(total_tokens)::bigint from marts.hourly_cost_per_token"
        ).fetchall()[0]
    path = str(settings.published_path)
    return {"simulated": True, "file": path, "rows": rows, "hours": hours, "total_tokens": tokens}


def advice(data_dir: Path, published: Path) -> Iterator[str]:
    """Yield where the file is and what to ask it, as it can be typed here."""
    installed = Path(sys.executable).with_name("tokenmill")
    command = "tokenmill" if shutil.which("tokenmill") == str(installed) else str(_near(installed))
    yield f"All of this is simulated. The tables are in {_near(published)}; ask them:"
    for query in QUERIES:
        yield f'  {command} --data-dir {_near(data_dir)} sql "{" ".join(query.split())}"'


def _near(path: Path) -> Path:
    """Return a path as seen from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextlib.contextmanager
def _opened(path: Path, settings: PipelineSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = warehouse.connect(path, settings, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


def _print(
    connection: duckdb.DuckDBPyConnection, output: Output, title: str, query: str, values: dict[str, Any]
) -> None:
    found = connection.execute(query, values)
    output.rows([column[0] for column in found.description or []], found.fetchall(), title=f"SIMULATED: {title}")
