"""What is known of the pods of this node: their units, their addresses, their processes and their devices."""

import dataclasses
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tokenmill_agent.identity.ask import AskError
from tokenmill_agent.placement.kubernetes.api import ApiServer
from tokenmill_agent.placement.kubernetes.podresources import PodDevice, PodResourcesError, list_devices
from tokenmill_agent.placement.kubernetes.units import Pod, Unit, unit_of

_REFRESH_SECONDS: Final = 60.0
_REFRESH_AT_LEAST_SECONDS: Final = 5.0
_KUBELET_TIMEOUT_SECONDS: Final = 2.0
_PROC: Final = Path("/proc")
# kubepods-burstable-pod1234_….slice of systemd, /kubepods/burstable/pod1234-… of cgroupfs, no dashes for static pods.
_POD_UID: Final = re.compile(r"pod([0-9a-f]{8}[-_]?(?:[0-9a-f]{4}[-_]?){3}[0-9a-f]{12})")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What configuration says of the server in a pod; None where it says nothing."""

    deployment: str | None
    replica: str | None


class KubernetesNode:
    """The pods of one node, asked for at most once a minute and when one is named that is not known.

    What was known last stays while a server or the kubelet does not answer. One thread calls it.
    """

    def __init__(
        self,
        *,
        api: ApiServer,
        node: str,
        socket: Path,
        label_names: tuple[str, ...],
        proc: Path = _PROC,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet; `seconds` is a clock that never steps back."""
        self._api = api
        self._node = node
        self._socket = socket
        self._label_names = label_names
        self._proc = proc
        self._seconds = seconds
        self._asked_at: float | None = None
        self._pods: list[Pod] = []
        self._devices: list[PodDevice] | None = None
        self._configured: dict[str, Names] = {}
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> list[str]:
        """Return what did not answer when it was last asked, and why."""
        return [f"{what}: {problem}" for what, problem in self._problems.items()]

    @property
    def pod_count(self) -> int:
        """Return how many pods are known."""
        return len(self._pods)

    def refresh(self, *, at_least_seconds: float = _REFRESH_SECONDS) -> None:
        """Ask for the pods anew if that was not done lately."""
        now = self._seconds()
        if self._asked_at is not None and now - self._asked_at < at_least_seconds:
            return
        self._asked_at = now
        try:
            self._pods = self._api.pods(self._node)
        except AskError as error:
            self._say("pods", f"the API server does not give the pods of {self._node}: {error}")
            return
        self._say("pods", None)
        present = {pod.uid for pod in self._pods}
        self._configured = {uid: names for uid, names in self._configured.items() if uid in present}

    def devices(self) -> list[tuple[PodDevice, Pod | None]]:
        """Return every GPU or part of one that a pod holds, with the pod; None where the API does not tell of it."""
        try:
            self._devices = list_devices(self._socket, timeout_seconds=_KUBELET_TIMEOUT_SECONDS)
            self._say("pod-resources", None)
        except PodResourcesError as error:
            self._say("pod-resources", str(error))
        except ImportError:
            self._say("pod-resources", "grpcio is not installed: install tokenmill[kubernetes]")
        devices = self._devices or []
        by_name = self._by_name()
        if any((device.namespace, device.pod) not in by_name for device in devices):
            self.refresh(at_least_seconds=_REFRESH_AT_LEAST_SECONDS)
            by_name = self._by_name()
        return [(device, by_name.get((device.namespace, device.pod))) for device in devices]

    def pod_at(self, ip: str) -> Pod | None:
        """Return the pod with an address of its own."""
        return next((pod for pod in self._pods if ip in pod.ips), None)

    def pod_of_process(self, pid: int) -> Pod | None:
        """Return the pod in whose cgroup a process of this node is."""
        try:
            text = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        found = {uid.replace("_", "").replace("-", "") for uid in _POD_UID.findall(text)}
        return next((pod for pod in self._pods if pod.uid.replace("-", "") in found), None)

    def unit(self, pod: Pod) -> Unit:
        """Return the unit of a pod; the names that configuration gave to a server in it win."""
        unit = unit_of(pod, self._label_names)
        names = self._configured.get(pod.uid)
        if names is None:
            return unit
        return dataclasses.replace(
            unit, deployment=names.deployment or unit.deployment, replica=names.replica or unit.replica
        )

    def configure(self, pod: Pod, names: Names) -> None:
        """Take what configuration says of a server that runs in a pod."""
        self._configured[pod.uid] = names

    def _by_name(self) -> dict[tuple[str, str], Pod]:
        return {(pod.namespace, pod.name): pod for pod in self._pods}

    def _say(self, what: str, problem: str | None) -> None:
        """Log one line per change, not one per look."""
        if problem == self._problems.get(what):
            return
        if problem is None:
            del self._problems[what]
            _log.info("kubernetes: %s answers again", what)
        else:
            self._problems[what] = problem
            _log.warning("kubernetes: %s", problem)
