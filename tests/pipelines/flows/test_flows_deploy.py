"""The deployments and the switches, as they would reach a server."""

import os
import subprocess
import sys

from tokenmill_pipeline.flows import ENVIRONMENT


def test_one_run_at_a_time_and_a_second_is_cancelled() -> None:
    """Two builds never wait for each other in Prefect."""
    from tokenmill_pipeline.flows import build, deploy

    made = deploy.deployment(build.build, "build", "*/5 * * * *")

    assert 1 == made.concurrency_limit
    assert "CANCEL_NEW" == str(made.concurrency_options.collision_strategy.value)  # type: ignore[union-attr]
    assert "tokenmill_pipeline.flows.build.build" == made.entrypoint


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
