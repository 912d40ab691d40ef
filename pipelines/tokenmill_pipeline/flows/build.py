"""The flow that builds every dirty hour and publishes; the work is `tokenmill_pipeline.build`."""

from datetime import UTC, datetime
from typing import Final

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tokenmill_pipeline import build as hours
from tokenmill_pipeline import context
from tokenmill_pipeline.flows.outcome import is_worth_retrying, rows

NAME: Final = "tokenmill-build"


# A cached result would give a restated hour its old figures, so nothing is ever cached.
@task(
    name="build-hours",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=10),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_worth_retrying,
)
def build_hours(hour_from: datetime | None, hour_to: datetime | None) -> hours.BuildReport:
    """Build the hours from `hour_from` until before `hour_to`, or all dirty ones, and publish."""
    run = context.load()
    span = (hour_from, hour_to) if hour_from is not None and hour_to is not None else None
    return hours.build(run.pipeline, run.build, run.fleet, run.billing, now=datetime.now(UTC), hours=span)


@flow(name=NAME, persist_result=False, timeout_seconds=4 * 3600)
def build(hour_from: datetime | None = None, hour_to: datetime | None = None) -> None:
    """Build every dirty hour, or a range of hours in UTC, check the closures and publish."""
    report = build_hours(hour_from, hour_to)
    create_table_artifact(key="tokenmill-build", table=rows(report), description="What the build did")
