"""The flow that loads bills and prices; the work is `tokenmill_pipeline.billing.load`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tokenmill_pipeline import context
from tokenmill_pipeline.billing.load import LoadReport, load_inbox, load_path
from tokenmill_pipeline.flows.outcome import is_worth_retrying, rows

NAME: Final = "tokenmill-billing"


@task(
    name="load-bills",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=10),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_worth_retrying,
)
def load_bills(paths: list[str]) -> list[LoadReport]:
    """Load the named files, or what is new in the inbox; the same file twice changes nothing."""
    run, now = context.load(), datetime.now(UTC)
    if not paths:
        return load_inbox(run.pipeline, run.billing, now=now)
    return [load_path(run.pipeline, run.billing, Path(path), now=now) for path in paths]


@flow(name=NAME, persist_result=False, timeout_seconds=4 * 3600)
def billing(paths: list[str] | None = None) -> None:
    """Load bills and price files: those in `paths`, or what is new in [billing] inbox_dir."""
    for number, report in enumerate(load_bills(paths or [])):
        create_table_artifact(key=f"tokenmill-billing-{number}", table=rows(report), description=str(report.path))
