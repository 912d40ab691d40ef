"""What the demo is going to do: which hours, where its files lie, and how its processes are set up."""

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tokenmill_agent.errors import UsageError

HOURS: Final = 26
SCENARIOS: Final = ("hopper", "blackwell")
MARK: Final = "SIMULATED"
"""A file of this name says that a directory belongs to the demo and may be emptied by it."""

NEVER: Final = "0 0 1 1 *"
"""The demo asks for its runs itself; a schedule would only cancel them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The hours are whole ones from `first_at` until before `end_at`; history goes on from there to `now`. All UTC."""

    data_dir: Path
    first_at: datetime
    end_at: datetime
    now: datetime

    @property
    def inbox_dir(self) -> Path:
        """Return where the bill and the prices lie."""
        return self.data_dir / "bills"

    @property
    def logs_dir(self) -> Path:
        """Return where the demo's processes print."""
        return self.data_dir / "logs"

    def environment(self, bootstrap: str) -> dict[str, str]:
        """Return the settings of every process of the demo."""
        return {
            "TOKENMILL_PIPELINE_DATA_DIR": str(self.data_dir),
            "TOKENMILL_BILLING_INBOX_DIR": str(self.inbox_dir),
            "TOKENMILL_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TOKENMILL_SERVE_BUILD_CRON": NEVER,
            "TOKENMILL_SERVE_BILLING_CRON": NEVER,
            # Some seconds of life are to give more than one row of each GPU.
            "TOKENMILL_AGENT_ROW_INTERVAL_SECONDS": "2",
            "TOKENMILL_AGENT_SCRAPE_INTERVAL_SECONDS": "2",
            "TOKENMILL_AGENT_SEND_INTERVAL_SECONDS": "2",
        }


def make_plan(data_dir: Path, now: datetime, grace_seconds: int) -> Plan:
    """Return the plan: the last 26 hours that a build of `now` takes for finished."""
    end_at = (now - timedelta(seconds=grace_seconds)).replace(minute=0, second=0, microsecond=0)
    return Plan(
        data_dir=data_dir.resolve(), first_at=end_at - timedelta(hours=HOURS), end_at=end_at, now=now.astimezone(UTC)
    )


def empty_directory(path: Path) -> None:
    """Make the demo's directory anew.

    Raises:
        UsageError: it holds something that no demo has made.
    """
    if path.exists() and not (path / MARK).exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} holds what no demo has made, so it is not emptied; name another --data-dir")
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(parents=True)
        (path / MARK).write_text("Everything in this directory is simulated; the next demo empties it.\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot make {path}: {error.strerror}; name another --data-dir") from error
