"""Builds the hours of a replay and reads the tokens of each server from the published mart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from tests.replay.expected import Tokens
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build
from tokenmill_pipeline.config import BuildSettings, FleetSettings, PipelineSettings

_BY_MODEL = """
    select
        model,
        sum(input_tokens)::bigint,
        sum(cached_input_tokens)::bigint,
        sum(output_tokens)::bigint
    from marts.hourly_cost_per_token
    where gpu_generation <> '(unknown)'
    group by model
"""


def build_and_publish(data_dir: Path, until_us: int) -> Path:
    """Build every hour up to `until_us` at a moment past its end and grace; return the published file."""
    settings, rules = PipelineSettings(data_dir=data_dir), BuildSettings()
    now = datetime.fromtimestamp(until_us / 1e6, UTC) + timedelta(hours=1, seconds=rules.grace_seconds + 60)
    build(settings, rules, FleetSettings(), BillingSettings(), now=now)
    return settings.published_path


def published_tokens(path: Path) -> dict[str, Tokens]:
    """Return the tokens of every model that stand on a known generation in the published mart, all hours together."""
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(_BY_MODEL).fetchall()
    return {model: Tokens(input=given, cached=cached, output=output) for model, given, cached, output in rows}
