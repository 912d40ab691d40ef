"""Runs the embedded broker of the demo, a small program from the `demo` extra that speaks Kafka's protocol.

It keeps its data in memory and saves it when it is stopped: for a first look on one machine, never for production.
"""

import contextlib
import dataclasses
import importlib.util
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.kafka_client import answers

_PACKAGE: Final = "noida_db"
_PROGRAM: Final = "noida-db"
_STOP_SECONDS: Final = 20.0


@dataclasses.dataclass(slots=True, kw_only=True)
class Broker:
    """A running broker; `bootstrap` is its address as clients take it."""

    bootstrap: str
    process: subprocess.Popen[bytes]

    def alive(self) -> bool:
        """Return whether it answers."""
        return self.process.poll() is None and answers(self.bootstrap)

    def stop(self) -> None:
        """Let it save its data and end; by force where that takes too long. Safe to call twice."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(data_dir: Path, port: int = 0, *, timeout_seconds: float = 15.0) -> Broker:
    """Start the broker on the loopback address and wait until it answers; port 0 takes a free one.

    Raises:
        TokenmillError: the extra is missing, the port is taken, or it does not start.
    """
    program = _program()
    data_dir.mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    log = data_dir / "broker.log"
    command = [str(program), "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(data_dir)]
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    except OSError as error:
        raise TokenmillError(f"cannot start the embedded broker {program}: {error.strerror}") from error
    broker = Broker(bootstrap=f"127.0.0.1:{port}", process=process)
    deadline = time.monotonic() + timeout_seconds
    while not broker.alive():
        if process.poll() is not None or time.monotonic() > deadline:
            broker.stop()
            raise TokenmillError(f"the embedded broker did not start on port {port}: {_last_line(log)}; see {log}")
        time.sleep(0.05)
    return broker


@contextlib.contextmanager
def running(data_dir: Path, port: int = 0) -> Iterator[Broker]:
    """Yield a running broker and stop it at the end."""
    broker = start(data_dir, port)
    try:
        yield broker
    finally:
        broker.stop()


def _program() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise TokenmillError('the embedded broker is not installed: pip install "tokenmill[pipeline,demo]"')
    program = Path(spec.origin).with_name(_PROGRAM)
    if not program.is_file():
        raise TokenmillError(f"the embedded broker is not at {program}: install {_PACKAGE} anew")
    # Some installers drop the right to run it.
    with contextlib.suppress(OSError):
        program.chmod(0o755)
    return program


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
