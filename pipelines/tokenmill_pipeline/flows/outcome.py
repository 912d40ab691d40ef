"""What the flows share: which failures are worth another try, and a report as the rows of an artifact."""

import dataclasses
from typing import Any

import duckdb
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tokenmill_agent.errors import TokenmillError, UsageError


def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return True for what may pass by itself: a lock, a disk, a network; not for a file or a key that is wrong."""
    return isinstance(state.data, TokenmillError | OSError | duckdb.Error) and not isinstance(state.data, UsageError)


def rows(report: Any) -> list[list[Any]]:
    """Return the fields of a report, a dataclass, as rows of name and value."""
    fields = dataclasses.asdict(report).items()
    return [
        ["field", "value"],
        *[[name, value if isinstance(value, int | float) else str(value)] for name, value in fields],
    ]
