"""The automation that ends silent runs, as it would reach a server."""

from datetime import timedelta

from tokenmill_pipeline.flows import ENVIRONMENT


def test_a_silent_run_crashes_after_three_heartbeats() -> None:
    """The automation waits for three heartbeats."""
    from tokenmill_pipeline.flows import automation

    made = automation.crash_zombies(
        automation.MISSED_HEARTBEATS * int(ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    )

    assert timedelta(seconds=90) == made.trigger.within  # type: ignore[union-attr]
