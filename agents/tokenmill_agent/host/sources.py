"""Makes the sources of the rest of the node's power that the settings name."""

import os
from collections.abc import Mapping
from pathlib import Path

from tokenmill_agent.host.dcmi import DcmiSource
from tokenmill_agent.host.hwmon import SYSFS, HwmonSource
from tokenmill_agent.host.rapl import RaplSource
from tokenmill_agent.host.reading import HostSource
from tokenmill_agent.host.redfish import RedfishSource, tls_context, url_with_credentials
from tokenmill_agent.host.settings import HostSettings


def make_sources(
    settings: HostSettings, *, sysfs: Path = SYSFS, environ: Mapping[str, str] = os.environ
) -> tuple[HostSource, ...]:
    """Return the sources in the order of the settings; nothing is read yet.

    Raises:
        UsageError: the URL, a file of credentials or the file of authorities cannot be used.
    """
    return tuple(_make(name, settings, sysfs, environ) for name in dict.fromkeys(settings.sources))


def _make(name: str, settings: HostSettings, sysfs: Path, environ: Mapping[str, str]) -> HostSource:
    if name == "hwmon":
        return HwmonSource(sysfs)
    if name == "rapl":
        return RaplSource(sysfs)
    if name == "dcmi":
        return DcmiSource(
            tool=settings.dcmi_tool,
            interval_seconds=settings.poll_interval_seconds,
            timeout_seconds=settings.timeout_seconds,
        )
    return RedfishSource(
        url_with_credentials(
            settings.redfish_url or "",
            username_file=settings.redfish_username_file,
            password_file=settings.redfish_password_file,
            environ=environ,
        ),
        chassis=settings.redfish_chassis,
        tls=tls_context(ca_file=settings.redfish_ca_file, verify=settings.redfish_verify_tls),
        interval_seconds=settings.poll_interval_seconds,
        timeout_seconds=settings.timeout_seconds,
    )
