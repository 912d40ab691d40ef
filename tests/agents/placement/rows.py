"""Servers and GPU processes of a made-up node, and processes that really listen."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.records import Server, Vantage

# A parent that listens, a child of it that would compute on the GPU.
_LISTEN = """
import socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
child = subprocess.Popen(["sleep", "300"])
print(listener.getsockname()[1], child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""


@contextlib.contextmanager
def listening_process() -> Iterator[tuple[int, int, int]]:
    """Run a process that listens and has a child; gives its port, its pid and the child's."""
    command = [sys.executable, "-S", "-c", _LISTEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port, child = (int(word) for word in process.stdout.readline().split())
            yield port, process.pid, child
        finally:
            process.stdin.close()
            process.wait()


def on_gpu(pid: int, gigabytes: int | None = 60, *, mig_uuid: str | None = None) -> GpuProcess:
    """Return a process as the driver lists it."""
    return GpuProcess(
        pid=pid, used_memory_bytes=gigabytes * 2**30 if gigabytes is not None else None, mig_uuid=mig_uuid
    )


def server_at(
    port: int, replica: str = "r1", *, started_at_us: int | None = None, vantage: Vantage = "engine"
) -> Server:
    """Return a server on this node."""
    return Server(
        server_id=f"http://127.0.0.1:{port}#{started_at_us}",
        deployment="chat",
        replica=replica,
        role="aggregated",
        role_basis="default",
        vantage=vantage,
        engine="vllm",
        engine_version=None,
        model_served="tiny",
        model_root=None,
        precision=None,
        precision_basis=None,
        tensor_parallel=None,
        pipeline_parallel=None,
        data_parallel=None,
        expert_parallel=None,
        expected_gpu_count=None,
        speculative=None,
        input_includes_cached=True,
        counts_at="step",
        address=f"http://127.0.0.1:{port}",
        labels={"team": "search"},
        process_started_at_us=started_at_us,
    )
