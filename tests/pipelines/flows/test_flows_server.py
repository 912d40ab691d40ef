"""What the commands ask of a Prefect server, without importing Prefect: here of a server that answers as told."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.flows import ENVIRONMENT, server

NAME = "tokenmill-build/build"


class Scripted(http.server.ThreadingHTTPServer):
    """Knows one deployment, whose runs go through the given states."""

    def __init__(self, states: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.states = states
        self.busy = 0
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        """Return the address of its API."""
        return server.api_url(self.server_port)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the four questions that are asked."""

    server: Scripted

    def do_GET(self) -> None:
        """Answer for health, the deployment and a run."""
        if self.path == "/api/health":
            self.answer(200, True)
        elif self.path == f"/api/deployments/name/{NAME}":
            self.answer(200, {"id": "d1"})
        elif self.path == "/api/flow_runs/r1":
            self.answer(
                200, {"state": self.server.states.pop(0) if len(self.server.states) > 1 else self.server.states[0]}
            )
        else:
            self.answer(404, {"detail": "Not found"})

    def do_POST(self) -> None:
        """Make a run, once the server is not busy any more."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(asked["idempotency_key"])
        if len(self.server.keys) <= self.server.busy:
            self.answer(503, {"exception_message": "Service Unavailable"})
        else:
            self.answer(201, {"id": "r1"})

    def answer(self, status: int, body: object) -> None:
        """Send JSON."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Yield a server whose run is first Running, then Completed."""
    made = Scripted([{"type": "RUNNING", "name": "Running"}, {"type": "COMPLETED", "name": "Completed"}])
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_run_is_followed_to_its_end(scripted: Scripted) -> None:
    """The name of the last state comes back."""
    assert "Completed" == server.run_deployment(scripted.url, NAME, parameters={}, timeout_seconds=60)


def test_why_a_run_failed_comes_with_its_state(scripted: Scripted) -> None:
    """The message of the state is part of the answer."""
    scripted.states = [{"type": "FAILED", "name": "Failed", "message": "the lock is held"}]

    assert "Failed: the lock is held" == server.run_deployment(scripted.url, NAME, parameters={}, timeout_seconds=60)


def test_a_run_that_does_not_end_is_given_up(scripted: Scripted) -> None:
    """The wait has an end, and says where to look."""
    scripted.states = [{"type": "PENDING", "name": "Pending"}]
    with pytest.raises(TokenmillError, match=r"did not end in 0\.1 s; look at it there"):
        server.run_deployment(scripted.url, NAME, parameters={}, timeout_seconds=0.1)


def test_an_unknown_deployment_is_an_error(scripted: Scripted) -> None:
    """What the server refuses is said with its own words."""
    with pytest.raises(TokenmillError, match="refused /deployments/name/a/b: 404"):
        server.run_deployment(scripted.url, "a/b", parameters={}, timeout_seconds=1)
    assert not server.has_deployment(scripted.url, "a/b")


def test_health_is_asked_over_http(scripted: Scripted) -> None:
    """A server that answers is healthy, a port where nobody listens is not."""
    assert server.is_healthy(scripted.url)
    assert not server.is_healthy("http://127.0.0.1:1/api")


def test_no_server_is_one_line() -> None:
    """Where nobody listens the address is named."""
    with pytest.raises(TokenmillError, match=r"no Prefect server answers at http://127\.0\.0\.1:1/api"):
        server.run_deployment("http://127.0.0.1:1/api", NAME, parameters={}, timeout_seconds=1)


def test_children_have_the_switches() -> None:
    """The server and the deployments run with telemetry off."""
    from pathlib import Path

    services = server.server_service(Path("/home"), 1), server.deployments_service("http://h/api", {"A": "b"})

    assert all(ENVIRONMENT.items() <= service.environment.items() for service in services)
    assert "b" == services[1].environment["A"]


def test_a_busy_server_is_asked_again_for_the_same_run(scripted: Scripted) -> None:
    """A 503 is waited out, and every try carries the same key, so that no second run starts."""
    scripted.busy = 2

    assert "Completed" == server.run_deployment(scripted.url, NAME, parameters={}, timeout_seconds=60)
    assert (3, 1) == (len(scripted.keys), len(set(scripted.keys)))
