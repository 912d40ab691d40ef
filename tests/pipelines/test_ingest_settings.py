"""Tests of tokenmill_pipeline.ingest_settings."""

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import section
from tokenmill_pipeline.ingest_settings import IngestSettings, Limits


def test_the_table_of_the_configuration_is_read_with_its_limits() -> None:
    """`[ingest]` and `[ingest.limits]` are typed like every other table."""
    tables = {"ingest": {"slice_seconds": 1, "partitions": [0, 2], "limits": {"message_rows_max": 7}}}
    found = section(IngestSettings, "ingest", tables, environ={"TOKENMILL_INGEST_LATE_WINDOW_HOURS": "5"})

    assert (
        IngestSettings(slice_seconds=1.0, partitions=(0, 2), late_window_hours=5, limits=Limits(message_rows_max=7))
        == found
    )


def test_an_unknown_limit_is_refused_with_the_nearest_known_one() -> None:
    """A misspelt limit must not leave the default in force unseen."""
    with pytest.raises(UsageError, match=r'did you mean "message_rows_max"'):
        section(IngestSettings, "ingest", {"ingest": {"limits": {"message_row_max": 7}}}, environ={})
