"""Serves the deployments: `python -m tokenmill_pipeline.flows.deploy`, a child of `tokenmill serve`."""

from typing import Any, Final, cast

from prefect import Flow, serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from tokenmill_pipeline import context
from tokenmill_pipeline.flows import automation
from tokenmill_pipeline.flows.billing import billing
from tokenmill_pipeline.flows.build import build

# A second run at the same time would only wait for the writer lock; the next one finds all that is left to do.
ONE_AT_A_TIME: Final = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
RUNS_MAX: Final = 4


def main() -> None:
    """Create the deployments and the automation, then run what is due until a signal comes."""
    settings = context.load().serve
    automation.install()
    serve(
        deployment(build, "build", settings.build_cron),
        deployment(billing, "billing", settings.billing_cron),
        limit=RUNS_MAX,
        print_starting_message=False,
    )


def deployment(flow: Flow[Any, Any], name: str, cron: str) -> RunnerDeployment:
    """Return the deployment of a flow on a schedule in UTC, one run at a time."""
    made = flow.to_deployment(
        name,
        schedule=Cron(cron, timezone="UTC"),
        concurrency_limit=ONE_AT_A_TIME,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # It is a coroutine only inside a running event loop.
    return cast("RunnerDeployment", made)


if __name__ == "__main__":
    main()
