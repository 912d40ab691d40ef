"""Says at one moment what holds each GPU of the node: configuration first, then Kubernetes, else its processes."""

from collections.abc import Callable, Mapping, Sequence

from tokenmill_agent.clock import Clock
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.placement.kubernetes.placer import KubernetesPlacer
from tokenmill_agent.placement.process import ProcessPlacer
from tokenmill_agent.placement.settings import PlacementSettings
from tokenmill_agent.placement.static import static_placements
from tokenmill_agent.records import Placement, Server


class Placer:
    """Places the GPUs of one node. One thread calls it."""

    def __init__(
        self,
        settings: tuple[PlacementSettings, ...],
        *,
        clock: Clock,
        pid_of: Callable[[str], int | None] = lambda _: None,
        kubernetes: KubernetesPlacer | None = None,
    ) -> None:
        """Place by `settings` first; `pid_of` knows the process of a server's address where it was found by it."""
        self._settings = settings
        self._by_process = ProcessPlacer(clock=clock, pid_of=pid_of)
        self._kubernetes = kubernetes
        self._gpus: tuple[str, ...] = ()

    def place(
        self,
        observed_at_us: int,
        processes: Mapping[str, Sequence[GpuProcess] | None] | None,
        servers: Sequence[Server],
    ) -> list[Placement]:
        """Return the sightings at `observed_at_us`; `processes` per GPU UUID in the driver's order.

        A GPU whose processes could not be asked (None, or all of them None) has no row, unless it is configured or a
        pod holds it: not looked is not the same as empty.

        Raises:
            UsageError: the configured shares of a GPU sum to more than 1.
        """
        if processes is not None:
            self._gpus = tuple(processes)
        rows = static_placements(self._settings, gpus=self._gpus, servers=servers, observed_at_us=observed_at_us)
        configured = {row.gpu_uuid for row in rows}
        looked = {
            gpu: on_gpu for gpu, on_gpu in (processes or {}).items() if on_gpu is not None and gpu not in configured
        }
        if self._kubernetes is not None:
            left = [gpu for gpu in self._gpus if gpu not in configured]
            of_pods = self._kubernetes.place(observed_at_us, self._gpus, left, looked, servers)
            held = {row.gpu_uuid for row in of_pods}
            looked = {gpu: on_gpu for gpu, on_gpu in looked.items() if gpu not in held}
            rows += of_pods
        return rows + self._by_process.place(observed_at_us, looked, servers)
