"""What is tried again, and how a report is shown."""

import dataclasses

import pytest

from tokenmill_agent.errors import TokenmillError, UsageError


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
    from tokenmill_pipeline.flows.outcome import rows

    @dataclasses.dataclass
    class Report:
        hours: int
        notes: tuple[str, ...]

    assert [["field", "value"], ["hours", 3], ["notes", "('a',)"]] == rows(Report(hours=3, notes=("a",)))
