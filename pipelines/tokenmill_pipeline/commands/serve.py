"""`tokenmill serve`: ingest and the deployments, kept running until a signal comes."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_pipeline.commands.base import Call, Commands, add_command
from tokenmill_pipeline.context import ServeSettings
from tokenmill_pipeline.flows.server import api_url, deployments_service, server_service
from tokenmill_pipeline.supervise import Service, Supervisor, stop_on_signals

DESCRIPTION: Final = """\
Keeps `tokenmill ingest --follow` running, restarted with a growing pause when it ends, and serves the Prefect
deployments `tokenmill-build/build` (every dirty hour, then publish) and `tokenmill-billing/billing` (the files in
[billing] inbox_dir) on their schedules. The Prefect server is the one that PREFECT_API_URL names; --local-server
starts one here, on SQLite under the data directory, to try things out. SIGTERM and Ctrl-C take all of it down.
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", run, "run ingest and all flows on their schedules", DESCRIPTION)
    parser.add_argument("--local-server", action="store_true", help="start a Prefect server on 127.0.0.1 as well")
    parser.add_argument("--port", type=int, metavar="N", help="its port; 0 takes a free one (default 4200)")


def run(call: Call) -> int:
    """Start the services in order and supervise them."""
    settings = call.context.serve
    data_dir = call.context.pipeline.data_dir.resolve()
    is_local = settings.local_server or call.arguments.local_server
    port = _port(settings, call.arguments.port) if is_local else 0
    environment = child_environment(data_dir, call.config)
    url = api_url(port) if is_local else _server_url()
    home = prefect_home(data_dir) if is_local else data_dir
    with stop_on_signals() as stop, Supervisor(_say) as supervisor:
        supervisor.start(ingest_service(environment), stop)
        if is_local:
            _say(f"Prefect server: {url.removesuffix('/api')}")
            supervisor.start(server_service(home, port), stop)
        if not stop.is_set():
            supervisor.start(deployments_service(url, environment), stop)
        supervisor.run(stop)
        _say("stopping")
    return 0


def ingest_service(environment: Mapping[str, str], log_path: Path | None = None) -> Service:
    """Return the service that lands what the brokers hold."""
    return Service(
        name="ingest",
        command=(sys.executable, "-m", "tokenmill_pipeline.cli", "ingest", "--follow"),
        environment=environment,
        log_path=log_path,
    )


def prefect_home(data_dir: Path) -> Path:
    """Return the folder of the local Prefect server, made where it is missing: SQLite makes no folder.

    Raises:
        TokenmillError: it cannot be made.
    """
    home = data_dir / "prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TokenmillError(
            f"cannot make {home}: {error.strerror}; name a directory that can be written with --data-dir"
        ) from error
    return home


def child_environment(data_dir: Path, config: Path | None) -> dict[str, str]:
    """Return the variables that give a child process, whatever its directory, the settings of this one."""
    named = config or (Path(os.environ["TOKENMILL_CONFIG"]) if "TOKENMILL_CONFIG" in os.environ else None)
    found = {"TOKENMILL_PIPELINE_DATA_DIR": str(data_dir)}
    return found if named is None else {**found, "TOKENMILL_CONFIG": str(named.resolve())}


def _server_url() -> str:
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        raise UsageError(
            "PREFECT_API_URL is not set: name a Prefect server, http://host:4200/api, or start one with --local-server"
        )
    return url.rstrip("/")


def _port(settings: ServeSettings, flag: int | None) -> int:
    port = settings.local_server_port if flag is None else flag
    with socket.socket() as probe:
        # The server sets the same option, so a connection that lingers is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port} of 127.0.0.1 cannot be had: {error}; choose another with --port") from error
        return int(probe.getsockname()[1])


def _say(line: str) -> None:
    print(f"tokenmill serve: {line}", file=sys.stderr, flush=True)
