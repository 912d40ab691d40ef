"""What the agent costs its node: `python -m tests.benchmarks.bench_agent_footprint [SECONDS]`, 30 without an argument.

The real program reads eight GPUs once a second from the stand-in of NVML's library, and every ten seconds the pages of
four servers in another process, 200 KB each, and sends to a small broker. Beside it stands a bare Python that imports
the same libraries. Growth is taken in one process on a driven clock: memory after 1,000 ticks and after 10,000 more.
Exit code 1 where a bound does not hold; the bounds are of an x86-64 or Arm server core that is not shared.
"""

import gc
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final

from tests.agents.small_broker import SmallBroker
from tests.fake_nvml.build import FakeNvml, build, compiler

RESIDENT_BYTES_MAX: Final = 60_000_000
CORE_SHARE_MAX: Final = 0.005
FIRST_SAMPLE_SECONDS_MAX: Final = 1.0
GROWTH_BYTES_MAX: Final = 2_000_000
PAGE_BYTES: Final = 200_000
SERVERS: Final = 4
GPUS: Final = 8
WARM_TICKS: Final = 1_000
TICKS: Final = 10_000
LIBRARIES: Final = tuple(name for name in ("kafka", "pynvml", "zstandard") if importlib.util.find_spec(name))
_WARM_SECONDS: Final = 12
_COMMAND: Final = (sys.executable, "-m", "tests.benchmarks.bench_agent_footprint")
_BARE: Final = f"import {', '.join(LIBRARIES)}\nprint(flush=True)\ninput()"


def main(arguments: list[str]) -> int:
    """Measure, print a table, and return 1 where a bound does not hold."""
    if arguments[:1] == ["--pages"]:
        serve_pages(int(arguments[1]))
        return 0
    if arguments[:1] == ["--grow"]:
        print(json.dumps(grow(json.loads(arguments[1]))))
        return 0
    if compiler() is None:
        print("NOT RUN: no C compiler (cc) for the stand-in of libnvidia-ml.so.1", file=sys.stderr)
        return 1
    seconds = float(arguments[0]) if arguments else 30.0
    with tempfile.TemporaryDirectory(prefix="bench-footprint-") as folder:
        found = _measure(Path(folder), seconds)
    print(f"{'what':<44}  {'found':>12}  {'bound':>12}")
    failed = False
    for what, value, bound, unit in found:
        failed |= bound is not None and value > bound
        print(f"{what:<44}  {_text(value, unit):>12}  {'' if bound is None else _text(bound, unit):>12}")
    return 1 if failed else 0


def _measure(folder: Path, seconds: float) -> list[tuple[str, float, float | None, str]]:
    fake = FakeNvml(folder, build(folder / "library"))
    fake.write({"count": GPUS, "gpu*.power": 350_000})
    environ = {name: value for name, value in fake.environ().items() if name != "FAKE_NVML_CALLS"}
    broker = SmallBroker(folder / "broker")
    broker.start()
    pages = _started([*_COMMAND, "--pages", str(PAGE_BYTES)])
    small_pages = _started([*_COMMAND, "--pages", "2000"])
    try:
        bare = _bare_bytes()
        resident, share, first = _run(folder, environ, broker.address, _line(pages), seconds)
        grown = subprocess.run(
            [*_COMMAND, "--grow", _line(small_pages)], env=environ, check=True, capture_output=True, text=True
        )
    finally:
        for process in (pages, small_pages):
            process.kill()
            process.communicate()
        broker.stop()
    before, after = json.loads(grown.stdout)
    return [
        (f"bare Python with {', '.join(LIBRARIES)}: resident", bare, None, "MB"),
        ("agent: resident", resident, RESIDENT_BYTES_MAX, "MB"),
        ("agent: share of a core", share, CORE_SHARE_MAX, "%"),
        ("agent: start to first sample", first, FIRST_SAMPLE_SECONDS_MAX, "s"),
        (f"agent: growth over {TICKS:,} ticks", after - before, GROWTH_BYTES_MAX, "MB"),
    ]


def _run(folder: Path, environ: dict[str, str], broker: str, urls: str, seconds: float) -> tuple[float, float, float]:
    """Run the agent and return its resident bytes, its share of a core, and the seconds to its first sample."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as free:
        port = free.server_address[1]
    config = folder / "tokenmill.toml"
    servers = "".join(f'[[agent.servers]]\nurl = "{url}"\n' for url in json.loads(urls))
    config.write_text(f'[agent]\ntelemetry_port = {port}\n{servers}[kafka]\nbootstrap_servers = ["{broker}"]\n')
    program = [sys.executable, "-m", "tokenmill_agent.cli", "run", "--config", str(config)]
    started_at = time.time()
    agent = subprocess.Popen([*program, "--state-dir", str(folder / "state"), "--log-level", "warning"], env=environ)
    try:
        first = _first_sample(port, agent) - started_at
        time.sleep(_WARM_SECONDS)
        cpu, since = _cpu_seconds(agent.pid), time.monotonic()
        time.sleep(seconds)
        share = (_cpu_seconds(agent.pid) - cpu) / (time.monotonic() - since)
        return _resident_bytes(agent.pid), share, first
    finally:
        agent.terminate()
        agent.wait()


def _first_sample(port: int, agent: subprocess.Popen[bytes]) -> float:
    """Return the wall time of the first sample, as the agent's own metrics tell it."""
    mark = 'last_sample_timestamp_seconds{kind="gpu-power"} '
    while agent.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                text = page.read().decode()
        except OSError:
            text = ""
        if mark in text:
            return float(text.partition(mark)[2].split()[0])
        time.sleep(0.02)
    raise SystemExit(f"the agent ended with {agent.returncode}")


def _bare_bytes() -> float:
    bare = _started([sys.executable, "-c", _BARE])
    try:
        _line(bare)
        return _resident_bytes(bare.pid)
    finally:
        bare.kill()
        bare.communicate()


def grow(urls: list[str]) -> tuple[int, int]:
    """Return the resident bytes of this process after the first ticks, and after many more."""
    from tokenmill_agent.assembly import Parts, make_agent
    from tokenmill_agent.clock import MICROSECONDS, DrivenClock
    from tokenmill_agent.config import AgentSettings
    from tokenmill_agent.gpu.reader import NvmlReader
    from tokenmill_agent.placement.placer import Placer
    from tokenmill_agent.records import Identity
    from tokenmill_agent.servers.scrape import TokenWatcher
    from tokenmill_agent.servers.settings import ServerSettings
    from tokenmill_agent.settings import KafkaSettings
    from tokenmill_agent.sink.stdout import LineSink
    from tokenmill_agent.telemetry import Telemetry

    clock, settings = DrivenClock(time.time_ns() // 1000, auto_advance=True), AgentSettings()
    reader = NvmlReader(clock=clock, deadline_seconds=20.0, count_error=lambda _call, _code: None)
    servers = tuple(ServerSettings(url=url) for url in urls)
    sink, telemetry = LineSink.file(Path(os.devnull)), Telemetry()
    parts = Parts(
        node="n1",
        identity=Identity(),
        clock=clock,
        reader=reader,
        tokens=TokenWatcher(servers, node="n1", clock=clock),
        placements=Placer((), clock=clock),
        simulated=False,
    )
    agent = make_agent(parts, settings=settings, kafka=KafkaSettings(), sink=sink, telemetry=telemetry)
    found = []
    for ticks in (WARM_TICKS, TICKS):
        agent.run(threading.Event(), until_monotonic_us=clock.monotonic_us() + ticks * MICROSECONDS)
        gc.collect()
        found.append(round(_resident_bytes(os.getpid())))
    reader.close()
    return found[0], found[1]


def serve_pages(page_bytes: int) -> None:
    """Serve metrics pages of about that size on free ports, print their addresses, and go on until killed."""
    body = _page(page_bytes)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(SERVERS)]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    print(json.dumps([f"http://127.0.0.1:{server.server_address[1]}" for server in servers]), flush=True)


def _page(page_bytes: int) -> bytes:
    labels = 'engine="0",model_name="meta-llama/Llama-3.3-70B-Instruct"'
    lines = []
    for name, value in (("prompt_tokens", 123_456), ("generation_tokens", 7_890), ("request_success", 12)):
        lines += [f"# TYPE vllm:{name} counter", f"vllm:{name}_total{{{labels}}} {value}.0"]
    number = 0
    while sum(map(len, lines[-2:])) * len(lines) < 2 * page_bytes:
        name = f"vllm:stage_{number}_seconds"
        lines.append(f"# TYPE {name} histogram")
        lines += [f'{name}_bucket{{{labels},le="{edge / 10}"}} {edge}.0' for edge in range(50)]
        lines += [f"{name}_count{{{labels}}} 50.0", f"{name}_sum{{{labels}}} 12.5"]
        number += 1
    return "\n".join(lines).encode()[:page_bytes].rpartition(b"\n")[0] + b"\n"


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _text(value: float, unit: str) -> str:
    scale = {"MB": 1e-6, "%": 100.0}.get(unit, 1.0)
    return f"{value * scale:.2f} {unit}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
