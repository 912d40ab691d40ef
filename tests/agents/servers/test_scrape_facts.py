"""Tests of what a look at a server takes from its page, and what its configuration says instead."""

import dataclasses

from tests.agents.servers.pages import PageServer
from tests.agents.servers.test_tables_tensorrt import INFO, SERVE
from tokenmill_agent.clock import SystemClock
from tokenmill_agent.records import Server
from tokenmill_agent.servers.scrape import TokenWatcher
from tokenmill_agent.servers.settings import ServerSettings


def seen(**told: object) -> Server:
    """Look once at a trtllm-serve of whose configuration this is told."""
    with PageServer() as server:
        server.show("/prometheus/metrics", SERVE + INFO)
        settings = ServerSettings(url=server.url, engine="trtllm", timeout_seconds=30.0)
        watcher = TokenWatcher((dataclasses.replace(settings, **told),), node="n", clock=SystemClock())  # type: ignore[arg-type] # any setting
        (found,) = watcher.look().servers
        assert "/metrics" not in [path for path, _ in server.asked]
    return found


def test_the_page_tells_what_nobody_configured() -> None:
    """Precision, sizes, speculation and the count of GPUs are the page's."""
    found = seen()

    assert ("NVFP4", "page", 8, 8, "MTP") == (
        found.precision,
        found.precision_basis,
        found.tensor_parallel,
        found.expected_gpu_count,
        found.speculative,
    )
    assert ("nvidia/r1", "r1") == (found.model_root, found.model_served)


def test_the_configuration_wins() -> None:
    """What an operator says stands over the page."""
    found = seen(precision="fp8", expected_gpu_count=16, role="decode")

    assert ("fp8", "configuration", 16) == (found.precision, found.precision_basis, found.expected_gpu_count)
    assert ("decode", "configuration", 8) == (found.role, found.role_basis, found.tensor_parallel)
