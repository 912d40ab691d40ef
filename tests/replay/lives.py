"""Serves the recorded pages of one target: one process per recorded process life, a closed port while it was down."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from tests.replay.captures import Page

_PAGE_SERVER = Path(__file__).with_name("page_server.py")
_DOWN = 0
_START_SECONDS = 0.02


class TargetLives:
    """The port of one target and the process that serves there now, if any."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self._life: int | None = None

    @property
    def pid(self) -> int | None:
        """Return the process that serves now."""
        return self._process.pid if self._process is not None else None

    def begin(self, page: Page) -> None:
        """Let the process of `page`'s life run, and no other; it serves nothing yet."""
        if page.status == _DOWN:
            self.end()
        elif self._process is None or page.life != self._life:
            self.end()
            command = [sys.executable, "-S", str(_PAGE_SERVER), str(self.port)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._life = page.life
            # The kernel tells starts to 10 ms: the clock must stand for so long, or the start falls on its next step.
            time.sleep(_START_SECONDS)

    def show(self, page: Page) -> None:
        """Serve `page` from now on; a page of status 0 closes the port."""
        self.begin(page)
        if self._process is None:
            return
        # Captures keep the lines that matter and may have lost the end of the last one.
        body = (page.text if page.text.endswith("\n") or not page.text else f"{page.text}\n").encode()
        order = {
            "path": page.url_path,
            "status": page.status,
            "content_type": page.content_type or "text/plain",
            "length": len(body),
        }
        stdin, stdout = _pipes(self._process)
        stdin.write(json.dumps(order).encode() + b"\n" + body)
        stdin.flush()
        answer = stdout.readline()
        if answer != b"ok\n":
            raise RuntimeError(f"the page server at port {self.port} ended with {self._process.wait()}")

    def end(self) -> None:
        """Kill the process, as the recorded one was killed; its port is closed afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in _pipes(self._process):
                pipe.close()
            self._process = None


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
