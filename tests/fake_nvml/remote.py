"""Runs the agent's real NVML reader in a process that loaded the stand-in library, and asks it from a test.

As a program it reads one JSON command a line and answers with one JSON line: pynvml finds its library when it is first
used, so a test process cannot change it.
"""

import dataclasses
import json
import subprocess
import sys
from typing import Any, Final

from tests.fake_nvml.build import FakeNvml


class RemoteError(Exception):
    """What the reader raised in the other process; `name` is the class."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class RemoteReader:
    """An `NvmlReader` in another process; what it returns comes back as plain dictionaries."""

    def __init__(self, fake: FakeNvml, *, deadline_seconds: float = 20.0, silent_seconds: float = 60.0) -> None:
        """Start the process and the reader.

        Raises:
            RemoteError: the reader could not be made.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fake_nvml.remote", str(deadline_seconds), str(silent_seconds)],
            env=fake.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._answer()
        except RemoteError:
            self.end()
            raise

    def read(self, *, detail: bool = True) -> list[dict[str, Any]]:
        """Read every GPU."""
        return list(self.ask("read", detail=detail))

    def devices(self) -> list[dict[str, Any]]:
        """Return the inventory."""
        return list(self.ask("devices"))

    def processes(self) -> dict[str, Any]:
        """Return the processes by GPU."""
        return dict(self.ask("processes"))

    def ask(self, what: str, **arguments: Any) -> Any:
        """Call a method, or read a property, of the reader."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """End the process, whatever hangs in it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RemoteError(answer["error"], answer["text"])
        return answer["result"]


def serve(deadline_seconds: float, silent_seconds: float) -> None:
    """Make the reader and answer until the input ends."""
    from tokenmill_agent.clock import SystemClock
    from tokenmill_agent.errors import TokenmillError
    from tokenmill_agent.gpu import reader as module

    # The product waits seconds and minutes; a test states the behaviour, not the wait.
    vars(module).update(RETRY_SECONDS=0.05, RETRY_SECONDS_MAX=0.05, SILENT_SECONDS_MAX=silent_seconds)
    errors: list[tuple[str, int]] = []
    try:
        reader = module.NvmlReader(
            clock=SystemClock(),
            deadline_seconds=deadline_seconds,
            count_error=lambda call, code: errors.append((call, code)),
        )
        _tell(None)
    except TokenmillError as error:
        _tell_error(error)
        return
    for line in sys.stdin:
        command = json.loads(line)
        try:
            found = errors if command["what"] == "errors" else getattr(reader, command["what"])
            _tell(found(**command["arguments"]) if callable(found) else found)
        except TokenmillError as error:
            _tell_error(error)


def _tell(result: Any) -> None:
    print(json.dumps({"result": result}, default=_plain), flush=True)


def _tell_error(error: Exception) -> None:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(type(value).__name__)


_USAGE: Final = 3

if __name__ == "__main__" and len(sys.argv) == _USAGE:
    serve(float(sys.argv[1]), float(sys.argv[2]))
