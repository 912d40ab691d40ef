"""The list of hours that must be built anew."""

from datetime import datetime, timedelta
from pathlib import Path

from tests.scripted import START, ScriptedWarehouse
from tokenmill_pipeline import dirty, warehouse

HOUR = timedelta(hours=1)


class TestRuns:
    """Grouping hours into batches."""

    def test_unbroken_hours_make_one_run(self) -> None:
        """Hours that follow each other are built together, up to the longest batch."""
        hours = [START + number * HOUR for number in (0, 1, 2, 5, 6)]

        assert [hours[:2], hours[2:3], hours[3:]] == dirty.runs(hours, longest=2)

    def test_nothing_makes_no_run(self) -> None:
        """No hours, no batches."""
        assert [] == dirty.runs([], longest=3)


class TestList:
    """Marking and clearing."""

    def test_hour_stays_until_every_cause_is_cleared(self, tmp_path: Path) -> None:
        """An hour marked for two causes is still marked for the other when one is cleared."""
        found = ScriptedWarehouse(tmp_path)
        with warehouse.open_warehouse(found.settings) as connection:
            dirty.mark(connection, [START, START], "telemetry", "landing", START)
            dirty.mark(connection, [START], "billing", "bill-1", START)
            causes = dirty.causes(connection, [START])
            dirty.clear(connection, [START], ["telemetry"])
            left = dirty.hours_marked(connection, ["telemetry", "billing"], START + HOUR)

        assert {START: ["billing", "telemetry"]} == causes
        assert [START] == left

    def test_hours_that_have_not_begun_wait(self, tmp_path: Path) -> None:
        """Only hours before the given moment are returned, in order."""
        found = ScriptedWarehouse(tmp_path)
        hours: list[datetime] = [START + 2 * HOUR, START, START + HOUR]
        with warehouse.open_warehouse(found.settings) as connection:
            dirty.mark(connection, hours, "billing", "bill-1", START)
            marked = dirty.hours_marked(connection, ["billing"], START + 2 * HOUR)

        assert [START, START + HOUR] == marked
