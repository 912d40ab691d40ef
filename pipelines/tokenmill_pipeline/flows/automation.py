"""Ends a run whose process is gone; without it the run stays Running and holds its deployment's only slot."""

import os
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "tokenmill-crash-zombies"
MISSED_HEARTBEATS = 3


def install() -> None:
    """Put the automation on the server in place of an earlier one of its name."""
    with get_client(sync_client=True) as client:
        for earlier in client.read_automations_by_name(NAME):
            client.delete_automation(earlier.id)
    crash_zombies(MISSED_HEARTBEATS * int(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])).create()


def crash_zombies(silent_seconds: int) -> Automation:
    """Return the automation: a run that began and was then silent for so long has crashed."""
    ends = ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")
    return Automation(
        name=NAME,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={f"prefect.flow-run.{end}" for end in ends},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=silent_seconds),
        ),
        actions=[
            ChangeFlowRunState(
                name=None, state=StateType.CRASHED, force=False, message=f"no heartbeat for {silent_seconds} s"
            )
        ],
    )
