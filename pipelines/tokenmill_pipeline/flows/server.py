"""A Prefect server as a child process, and one run of a deployment asked of any server, both over plain HTTP.

Nothing here imports prefect, which costs seconds of CPU: the commands that use it stay quick.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.flows import ENVIRONMENT
from tokenmill_pipeline.supervise import Service

SERVER: Final = "Prefect server"
DEPLOYMENTS: Final = "deployments"
TIMEOUT_SECONDS: Final = 10
POLL_SECONDS: Final = 0.5
BUSY_SECONDS: Final = 60.0
ENDED: Final = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def server_service(home: Path, port: int, log_path: Path | None = None) -> Service:
    """Return the service that runs a server of this machine alone, its database and files under `home`."""
    return Service(
        name=SERVER,
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        environment={**ENVIRONMENT, "PREFECT_HOME": str(home), "PREFECT_API_URL": api_url(port)},
        ready=lambda: is_healthy(api_url(port)),
        log_path=log_path,
    )


def deployments_service(url: str, environment: Mapping[str, str], log_path: Path | None = None) -> Service:
    """Return the service that serves the deployments and runs them."""
    return Service(
        name=DEPLOYMENTS,
        command=(sys.executable, "-m", "tokenmill_pipeline.flows.deploy"),
        environment={**ENVIRONMENT, "PREFECT_API_URL": url, **environment},
        log_path=log_path,
    )


def api_url(port: int) -> str:
    """Return the address of the API of a server on this machine."""
    return f"http://127.0.0.1:{port}/api"


def is_healthy(url: str) -> bool:
    """Say whether the server answers."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - an http address
            return bool(answer.status == 200)
    except OSError:
        return False


def has_deployment(url: str, name: str) -> bool:
    """Say whether the server knows the deployment `flow/deployment`."""
    try:
        _ask(url, f"/deployments/name/{name}")
    except (TokenmillError, OSError):
        return False
    return True


def run_deployment(url: str, name: str, *, parameters: Mapping[str, Any], timeout_seconds: float) -> str:
    """Ask for a run of `flow/deployment`, wait for its end and return the name of its last state.

    Raises:
        TokenmillError: the server does not answer or does not know it, or the run did not end in time.
    """
    deployment = _ask(url, f"/deployments/name/{name}")
    # Asked again with the same key the server gives the same run: a retry starts no second one.
    asked = {"parameters": dict(parameters), "idempotency_key": uuid.uuid4().hex}
    run = _ask(url, f"/deployments/{deployment['id']}/create_flow_run", asked)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        state = _ask(url, f"/flow_runs/{run['id']}")["state"]
        if state["type"] in ENDED:
            return f"{state['name']}: {state['message']}" if state.get("message") else str(state["name"])
        time.sleep(POLL_SECONDS)
    raise TokenmillError(f"the run of {name} on {url} did not end in {timeout_seconds:g} s; look at it there")


def _ask(url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - an http address of the configuration
        f"{url}{path}", data=data, headers={"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the same
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # A busy server, its SQLite file locked by itself, says so and answers a moment later.
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
            detail = error.read(500).decode(errors="replace")
            raise TokenmillError(f"the Prefect server at {url} refused {path}: {error.code} {detail}") from error
        except OSError as error:
            raise TokenmillError(f"no Prefect server answers at {url}: {error}; is it running?") from error
