"""What `[agent.host]` refuses."""

from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent.config import load
from tokenmill_agent.errors import UsageError
from tokenmill_agent.host.settings import HostSettings


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"sources": ("hwmn",)}, 'did you mean "hwmon"'),
        ({"sources": ("redfish",)}, "go together"),
        ({"redfish_url": "https://bmc"}, "go together"),
        ({"dcmi_tool": "ipmitoll"}, 'did you mean "ipmitool"'),
        ({"poll_interval_seconds": 0.0}, "poll_interval_seconds is 0.0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds is nan"),
    ],
)
def test_what_cannot_be_right_is_refused(settings: dict[str, Any], text: str) -> None:
    """With the key and what is allowed."""
    with pytest.raises(UsageError, match=text):
        HostSettings(**settings)


def test_the_kernel_is_read_without_any_setting() -> None:
    """A management controller is not."""
    assert ("hwmon", "rapl") == HostSettings().sources


def test_the_table_is_read_from_the_file(tmp_path: Path) -> None:
    """Below `[agent]`."""
    path = tmp_path / "tokenmill.toml"
    path.write_text('[agent.host]\nsources = ["dcmi"]\ndcmi_tool = "ipmitool"\n')
    config = load(path, environ={}, agent_flags={}, kafka_flags={})

    assert HostSettings(sources=("dcmi",), dcmi_tool="ipmitool") == config.agent.host
