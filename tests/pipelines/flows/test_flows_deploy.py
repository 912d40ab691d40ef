"""The deployments, the automation and the switches, as they would reach a server."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.flows import ENVIRONMENT


def test_one_run_at_a_time_and_a_second_is_cancelled() -> None:
    """Two builds never wait for each other in Prefect."""
    from tokenmill_pipeline.flows import build, deploy

    made = deploy.deployment(build.build, "build", "*/5 * * * *")

    assert 1 == made.concurrency_limit
    assert "CANCEL_NEW" == str(made.concurrency_options.collision_strategy.value)  # type: ignore[union-attr]
    assert "tokenmill_pipeline.flows.build.build" == made.entrypoint


def test_no_task_is_ever_cached() -> None:
    """A cached result would give a restated hour its old figures."""
    from prefect.cache_policies import NO_CACHE

    from tokenmill_pipeline.flows import billing, build

    for task in (build.build_hours, billing.load_bills):
        assert NO_CACHE == task.cache_policy
        assert task.persist_result is False
        assert 3 == task.retries


def test_a_silent_run_crashes_after_three_heartbeats() -> None:
    """The automation waits for three heartbeats."""
    from tokenmill_pipeline.flows import automation

    made = automation.crash_zombies(
        automation.MISSED_HEARTBEATS * int(ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    )

    assert timedelta(seconds=90) == made.trigger.within  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "is_worth"),
    [(TokenmillError("locked"), True), (OSError("disk"), True), (UsageError("key"), False), (NameError("bug"), False)],
)
def test_only_what_may_pass_is_tried_again(error: Exception, is_worth: bool) -> None:
    """A wrong file stays wrong."""
    from prefect.states import Failed

    from tokenmill_pipeline.flows.build import build_hours
    from tokenmill_pipeline.flows.outcome import is_worth_retrying

    assert is_worth is is_worth_retrying(build_hours, None, Failed(data=error))  # type: ignore[arg-type]


def test_a_report_becomes_rows_of_name_and_value() -> None:
    """An artifact shows each field of a report."""
    import dataclasses

    from tokenmill_pipeline.flows.outcome import rows

    @dataclasses.dataclass
    class Report:
        hours: int
        notes: tuple[str, ...]

    assert [["field", "value"], ["hours", 3], ["notes", "('a',)"]] == rows(Report(hours=3, notes=("a",)))


def test_the_switches_are_set_before_prefect_is_imported() -> None:
    """Importing the flows turns telemetry and ephemeral servers off; what the person set stays."""
    program = (
        "import sys; from tokenmill_pipeline import flows; assert 'prefect' not in sys.modules; "
        "from prefect.settings import get_current_settings as get; server = get().server; "
        "print(server.analytics_enabled, server.ephemeral.enabled, get().flows.heartbeat_frequency)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "60"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)

    assert "False False 60" == done.stdout.strip()


def test_without_a_server_a_flow_fails_loudly() -> None:
    """A missing PREFECT_API_URL does not start a server in secret."""
    program = "from tokenmill_pipeline.flows.billing import billing; billing()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment)

    assert 0 != done.returncode
    assert "PREFECT_API_URL" in done.stderr
