"""`[agent.host]`: from where the power of the rest of the node is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenmill_agent.errors import UsageError
from tokenmill_agent.host.dcmi import TOOLS
from tokenmill_agent.settings import nearest

SOURCES: Final = ("hwmon", "rapl", "redfish", "dcmi")

_WHERE: Final = "[agent.host]"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What the kernel shows is read where it is readable; a management controller is asked only where it is named.

    User and password of Redfish come from `TOKENMILL_REDFISH_USERNAME` and `TOKENMILL_REDFISH_PASSWORD`, or from the
    files. `poll_interval_seconds` and `timeout_seconds` are of Redfish and DCMI.
    """

    sources: tuple[str, ...] = ("hwmon", "rapl")
    redfish_url: str | None = None
    redfish_chassis: str | None = None
    redfish_username_file: Path | None = None
    redfish_password_file: Path | None = None
    redfish_ca_file: Path | None = None
    redfish_verify_tls: bool = True
    dcmi_tool: str | None = None
    poll_interval_seconds: float = 10.0
    timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot be right.

        Raises:
            UsageError: naming the key, the value and what is allowed.
        """
        for source in self.sources:
            _one_of("sources", source, SOURCES)
        if self.dcmi_tool is not None:
            _one_of("dcmi_tool", self.dcmi_tool, tuple(TOOLS))
        if ("redfish" in self.sources) != (self.redfish_url is not None):
            raise UsageError(
                f'{_WHERE} sources with "redfish" and redfish_url go together: one is set without the other'
            )
        for name in ("poll_interval_seconds", "timeout_seconds"):
            if not 0 < (value := getattr(self, name)) < 3600:
                raise UsageError(f"{_WHERE} {name} is {value}, expected more than 0 and less than 3600 seconds")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{_WHERE} {key}: {value!r}, expected {', '.join(known)}{nearest(value, known)}")
