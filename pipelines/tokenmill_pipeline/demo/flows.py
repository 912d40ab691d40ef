"""The demo's Prefect server and deployments: started beside the sending, asked for one run each over HTTP."""

import dataclasses
import socket
from collections.abc import Mapping
from typing import Final

from tokenmill_agent.errors import TokenmillError
from tokenmill_pipeline.demo.plan import Plan
from tokenmill_pipeline.flows import server
from tokenmill_pipeline.supervise import Supervisor

DEPLOYMENTS: Final = ("tokenmill-billing/billing", "tokenmill-build/build")
RUN_SECONDS: Final = 300.0
QUICK: Final = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_LOGGING_LEVEL": "WARNING"}
"""A person waits for these runs; in production the runner asks every ten seconds."""


class Flows:
    """A local server and the deployments on it."""

    def __init__(self, supervisor: Supervisor, plan: Plan, environment: Mapping[str, str]) -> None:
        """Start the server; it needs some seconds, which are not waited for."""
        self._supervisor = supervisor
        self._plan = plan
        self._environment = {**environment, **QUICK, "PREFECT_HOME": str(plan.data_dir / "prefect-client")}
        self._serves = False
        port = _free_port()
        self.url = server.api_url(port)
        service = server.server_service(plan.data_dir / "prefect", port, plan.logs_dir / "prefect-server.log")
        supervisor.start(dataclasses.replace(service, ready=None, restart=False))

    def look(self) -> bool:
        """Go on with starting up as far as is possible now; return whether the deployments can be run.

        Raises:
            TokenmillError: the server or the deployments ended.
        """
        running = self._supervisor.process_ids
        if server.SERVER not in running or (self._serves and server.DEPLOYMENTS not in running):
            raise TokenmillError(f"the Prefect server or the deployments ended; see {self._plan.logs_dir}")
        if not self._serves and server.is_healthy(self.url):
            log = self._plan.logs_dir / "deployments.log"
            service = server.deployments_service(self.url, self._environment, log)
            self._supervisor.start(dataclasses.replace(service, restart=False))
            self._serves = True
        return self._serves and all(server.has_deployment(self.url, name) for name in DEPLOYMENTS)

    def run(self, deployment: str) -> None:
        """Run a deployment to its end.

        Raises:
            TokenmillError: it did not complete.
        """
        state = server.run_deployment(self.url, deployment, parameters={}, timeout_seconds=RUN_SECONDS)
        if not state.startswith("Completed"):
            raise TokenmillError(f"the run of {deployment} ended as {state}; see {self._plan.logs_dir}/deployments.log")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
