"""Power of the whole node as its management controller tells it through Redfish, over HTTPS."""

import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tokenmill_agent.errors import UsageError
from tokenmill_agent.host.reading import HostReading, MissingError, SourceName, plausible_milliwatts
from tokenmill_agent.servers.fetch import FetchError, fetch

CHASSIS_PATH: Final = "/redfish/v1/Chassis"
USERNAME_VARIABLE: Final = "TOKENMILL_REDFISH_USERNAME"
PASSWORD_VARIABLE: Final = "TOKENMILL_REDFISH_PASSWORD"  # noqa: S105 - the name of a variable, not a secret

_BYTES_MAX: Final = 1024 * 1024
_CHASSIS_MAX: Final = 64
_PARTS: Final = "HGX_"
"""Chassis of a GPU board's own controller: parts of the node, not the node."""

_REASONS: Final = {401: "permission_denied", 403: "permission_denied", 404: "not_supported", 405: "not_supported"}


class RedfishSource:
    """Reads `EnvironmentMetrics` `PowerWatts`, else `Power` `PowerControl[0]`, of the chassis that is the node.

    Without a named chassis every one is asked once; where more than one has a power (`ambiguous`), which of them is
    the node must be configured: their sum would count twice what one holds of another.
    """

    name: Final[SourceName] = "redfish"

    def __init__(
        self,
        url: str,
        *,
        chassis: str | None,
        tls: ssl.SSLContext,
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        """Take the controller's URL, with name and password in it; nothing is asked yet."""
        self._url = url
        self._chassis = chassis
        self._tls = tls
        self.interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._document: str | None = None
        self._deadline = 0.0

    def read(self) -> Sequence[HostReading]:
        """Return one reading, within the timeout however many documents it takes."""
        self._deadline = time.monotonic() + self._timeout_seconds
        try:
            milliwatts = self._power()
        except MissingError as error:
            self._document = None
            return [
                HostReading(scope="node_input", source="redfish", id="system", reason=error.reason, detail=error.detail)
            ]
        return [HostReading(scope="node_input", source="redfish", id="system", power_milliwatts=milliwatts)]

    def _power(self) -> int:
        if self._document is not None:
            return power_of(self._get(self._document))
        found: dict[str, int] = {}
        for chassis in self._all_chassis():
            for kind in ("EnvironmentMetrics", "Power"):
                path = f"{chassis}/{kind}"
                try:
                    found[path] = power_of(self._get(path))
                except MissingError as error:
                    if error.reason != "not_supported":
                        raise
                    continue
                break
        if len(found) > 1:
            raise MissingError("ambiguous", f"several have a power: {', '.join(found)}; set redfish_chassis")
        if not found:
            raise MissingError("not_supported", "no chassis tells its power")
        self._document, milliwatts = next(iter(found.items()))
        return milliwatts

    def _all_chassis(self) -> Iterator[str]:
        if self._chassis is not None:
            yield f"{CHASSIS_PATH}/{quote(self._chassis, safe='')}"
            return
        yield from chassis_of(self._get(CHASSIS_PATH))

    def _get(self, path: str) -> Any:
        left_seconds = self._deadline - time.monotonic()
        if left_seconds <= 0:
            raise MissingError("timeout", f"no answer within {self._timeout_seconds:g} s")
        try:
            document = fetch(
                self._url,
                path=path,
                accept="application/json",
                timeout_seconds=left_seconds,
                max_bytes=_BYTES_MAX,
                tls=self._tls,
            )
        except FetchError as error:
            reason = "timeout" if error.timed_out else _REASONS.get(error.status or 0, "unreachable")
            raise MissingError(reason, f"{path}: {error}") from None
        return decode(document.body)


def decode(body: bytes) -> Any:
    """Return a document.

    Raises:
        MissingError: it is no JSON (`invalid_answer`).
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise MissingError("invalid_answer", "no JSON") from None


def chassis_of(collection: Any) -> list[str]:
    """Return the paths of the chassis of a collection, those of a GPU board's own controller left out."""
    members = collection.get("Members") if isinstance(collection, Mapping) else None
    found = [
        str(member["@odata.id"]).rstrip("/")
        for member in (members if isinstance(members, list) else [])
        if isinstance(member, Mapping) and isinstance(member.get("@odata.id"), str)
    ]
    plain = [path for path in found if path.startswith(f"{CHASSIS_PATH}/") and path.isascii() and path.isprintable()]
    return [path for path in plain if " " not in path and not path.rpartition("/")[2].startswith(_PARTS)][:_CHASSIS_MAX]


def power_of(document: Any) -> int:
    """Return the power in milliwatts that an EnvironmentMetrics or a Power document tells.

    Raises:
        MissingError: it has none (`not_supported`), or no node can draw it (`absurd`).
    """
    watts: Any = None
    if isinstance(document, Mapping):
        sensor, controls = document.get("PowerWatts"), document.get("PowerControl")
        if isinstance(sensor, Mapping):
            watts = sensor.get("Reading")
        elif isinstance(controls, list) and controls and isinstance(controls[0], Mapping):
            watts = controls[0].get("PowerConsumedWatts")
    if isinstance(watts, bool) or not isinstance(watts, int | float):
        raise MissingError("not_supported", "no power in the answer")
    # A node that runs this cannot draw nothing: controllers that do not measure say 0.
    return plausible_milliwatts(watts, least=1.0)


def url_with_credentials(
    url: str, *, username_file: Path | None, password_file: Path | None, environ: Mapping[str, str] = os.environ
) -> str:
    """Return the controller's URL with the name and password that files or environment give, without where none do.

    Raises:
        UsageError: the URL is not https with a host, holds a name, password or path itself, or a file cannot be read.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        raise UsageError(
            "[agent.host] redfish_url: expected https://host or https://host:port, without name, password and path; "
            f"those come from {USERNAME_VARIABLE} and {PASSWORD_VARIABLE} or from files"
        )
    username = _secret("redfish_username_file", username_file, environ.get(USERNAME_VARIABLE))
    password = _secret("redfish_password_file", password_file, environ.get(PASSWORD_VARIABLE))
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login = f"{quote(username, safe='')}:{quote(password or '', safe='')}@" if username else ""
    return f"https://{login}{host}:{port or 443}"


def tls_context(*, ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """Return whom to trust.

    Raises:
        UsageError: the file of authorities cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
    except OSError as error:
        why = error.strerror or "no certificate in it"
        raise UsageError(f"[agent.host] redfish_ca_file: cannot use {ca_file}: {why}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _secret(key: str, path: Path | None, in_environment: str | None) -> str | None:
    if path is None:
        return in_environment
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"[agent.host] {key}: cannot read {path}: {why}") from None
