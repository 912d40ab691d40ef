"""Inference servers as they stand on a node: a named program with its flags, a web server in it, a worker below it."""

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PAGE = (
    'vllm:prompt_tokens_total{engine="0",model_name="big"} 100.0\n'
    'vllm:prompt_tokens_cached_total{engine="0",model_name="big"} 0.0\n'
    'vllm:generation_tokens_total{engine="0",model_name="big"} 30.0\n'
)

# It answers at the given path alone, says every path that it was asked, and has a child that would hold the GPU.
_SERVE = """
import http.server, subprocess, sys
from pathlib import Path
page = Path(__file__).with_suffix(".page").read_bytes()
path = Path(__file__).with_suffix(".path").read_text()
log = Path(__file__).with_suffix(".asked")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with log.open("a") as file:
            print(self.path, file=file)
        found = self.path == path and bool(page)
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(page) if found else 0))
        self.end_headers()
        self.wfile.write(page if found else b"")
    def log_message(self, *_):
        pass
port = int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else 0
headless = "--headless" in sys.argv
server = None if headless else http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
child = subprocess.Popen(["sleep", "300"])
print(0 if headless else server.server_address[1], child.pid, flush=True)
if not headless:
    import threading
    threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
child.kill()
child.wait()
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A server that runs, and the worker below it."""

    port: int
    pid: int
    worker: int
    log: Path

    @property
    def asked(self) -> list[str]:
        """Return every path that was asked."""
        return self.log.read_text().split() if self.log.exists() else []


@contextlib.contextmanager
def launched(
    folder: Path, program: str, arguments: Sequence[str], *, page: str = PAGE, path: str = "/metrics"
) -> Iterator[Launched]:
    """Run `program` with `arguments` in a session of its own; an empty page is none."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / program
    script.write_text(_SERVE)
    script.with_suffix(".page").write_text(page)
    script.with_suffix(".path").write_text(path)
    command = [sys.executable, "-S", str(script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port, worker = (int(word) for word in process.stdout.readline().split())
            yield Launched(port=port, pid=process.pid, worker=worker, log=script.with_suffix(".asked"))
        finally:
            process.stdin.close()
            process.wait()
