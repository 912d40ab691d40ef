"""Power of the whole node as its management controller tells it through IPMI (DCMI), by way of a tool of the system."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Final

from tokenmill_agent.host.reading import HostReading, MissingError, SourceName, plausible_milliwatts

TOOLS: Final = {
    "ipmi-dcmi": ("--get-system-power-statistics",),
    "ipmitool": ("dcmi", "power", "reading"),
}
"""Tools that are known, FreeIPMI's first, and what each is asked."""

_OUTPUT_BYTES_MAX: Final = 64 * 1024
_END_SECONDS: Final = 1.0
_POWER: Final = re.compile(
    r"^\s*(?:Current Power|Instantaneous power reading)\s*:\s*([0-9]{1,9})\s*watts", re.IGNORECASE | re.MULTILINE
)
_STATE: Final = re.compile(
    r"^\s*(?:Power Measurement|Power reading state is)\s*:\s*([A-Za-z ]{1,40}?)\s*$", re.IGNORECASE | re.MULTILINE
)
_ACTIVE: Final = ("active", "activated")
_DENIED: Final = re.compile(r"permission denied|must be root|access denied|insufficient privilege", re.IGNORECASE)
_UNSUPPORTED: Final = re.compile(
    r"invalid command|not supported|no such file or directory|could not open device|command not available",
    re.IGNORECASE,
)


class DcmiSource:
    """Runs the tool once per reading. The reading is of the node's input: fans, disks and power supplies are in it."""

    name: Final[SourceName] = "dcmi"

    def __init__(self, *, tool: str | None, interval_seconds: float, timeout_seconds: float) -> None:
        """Take the tool, or the first known one on the path; nothing runs yet."""
        self._tool = tool
        self.interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds

    def read(self) -> Sequence[HostReading]:
        """Return one reading."""
        try:
            milliwatts = parse(self._run())
        except MissingError as error:
            return [
                HostReading(scope="node_input", source="dcmi", id="system", reason=error.reason, detail=error.detail)
            ]
        return [HostReading(scope="node_input", source="dcmi", id="system", power_milliwatts=milliwatts)]

    def _run(self) -> str:
        tools = (self._tool,) if self._tool is not None else tuple(TOOLS)
        found = next(((path, tool) for tool in tools if (path := shutil.which(tool)) is not None), None)
        if found is None:
            raise MissingError("tool_missing", f"{' and '.join(tools)} not found on the path")
        path, tool = found
        return run((path, *TOOLS[tool]), timeout_seconds=self._timeout_seconds)


def run(command: Sequence[str], *, timeout_seconds: float) -> str:
    """Return the beginning of what a command prints, errors included; it and its children are ended in time.

    Raises:
        MissingError: it cannot be started (`tool_failed`, `permission_denied`) or takes too long (`timeout`).
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A tool is told nothing of what the agent knows.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except PermissionError:
        raise MissingError("permission_denied", f"{command[0]} may not be run") from None
    except OSError as error:
        raise MissingError("tool_failed", f"{command[0]}: {error.strerror}") from None
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill_group(process)

    timer = threading.Timer(timeout_seconds, end)
    timer.start()
    with process:
        output = process.stdout.read(_OUTPUT_BYTES_MAX) if process.stdout is not None else b""
        timer.cancel()
        timer.join()
        try:
            process.wait(timeout=0 if len(output) == _OUTPUT_BYTES_MAX else _END_SECONDS)
        except subprocess.TimeoutExpired:
            # It prints more than anybody reads, or closed its output and goes on.
            _kill_group(process)
    if late.is_set():
        raise MissingError("timeout", f"{command[0]} took longer than {timeout_seconds:g} s")
    return output.decode("utf-8", errors="replace")


def parse(output: str) -> int:
    """Return the present power in milliwatts from the output of either tool.

    Raises:
        MissingError: it says that there is none, that it may not be asked, or something unknown.
    """
    state = _STATE.search(output)
    if state is not None and state[1].lower() not in _ACTIVE:
        raise MissingError("not_supported", f"power measurement is {state[1].lower()}")
    power = _POWER.search(output)
    if power is not None:
        # A node that runs this cannot draw nothing: controllers that do not measure say 0.
        return plausible_milliwatts(float(power[1]), least=1.0)
    if _DENIED.search(output):
        raise MissingError("permission_denied", _first_line(output))
    if _UNSUPPORTED.search(output):
        raise MissingError("not_supported", _first_line(output))
    raise MissingError("tool_failed", _first_line(output))


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    # Nobody has waited for the process yet, so its number is still its own; a child of it may hold the pipe open.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _first_line(output: str) -> str:
    line = next((line.strip() for line in output.splitlines() if line.strip()), "it printed nothing")
    return "".join(character for character in line[:200] if character.isprintable())
