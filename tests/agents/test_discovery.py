"""A bare node: the agent as a program, without configuration, with a driver that lists processes of real servers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.agents.servers.launched import launched
from tests.agents.servers.test_found import free_port
from tests.fake_nvml.build import FakeNvml


def agent(fake: FakeNvml, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the agent with the driver of the test and the output on stdout."""
    command = [sys.executable, "-m", "tokenmill_agent.cli", *arguments, "--node", "n1", "--sink", "stdout"]
    return subprocess.run(command, env=fake.environ(), capture_output=True, text=True, timeout=120, check=False)


def messages(fake: FakeNvml) -> dict[str, dict[str, Any]]:
    """Return what the agent sends when it reads everything once, by kind."""
    done = agent(fake, "once")
    assert 0 == done.returncode, done.stderr
    return {message["kind"]: message for message in map(json.loads, done.stdout.splitlines())}


def test_tokens_and_gpus_of_a_server_that_nobody_configured(tmp_path: Path, fake_nvml: FakeNvml) -> None:
    """Its counters and its GPU come with the same deployment and replica, the other GPU is empty."""
    with launched(tmp_path / "s", "vllm", ["serve", "org/big", "--port", free_port()]) as server:
        fake_nvml.write({"gpu0.process.0": f"{server.worker} 60000000000"})
        sent = messages(fake_nvml)
    (one,) = sent["token-counters"]["servers"]
    first, second = sent["gpu-power"]["placements"]

    assert ([100], [30]) == tuple(sent["token-counters"]["samples"][name] for name in ("input_tokens", "output_tokens"))
    assert ("big", f"n1:{server.port}", "process") == (first["deployment"], first["replica"], first["basis"])
    assert (first["deployment"], first["replica"], "empty") == (one["deployment"], one["replica"], second["basis"])


def test_leader_and_follower_say_the_same_unit(tmp_path: Path, fake_nvml: FakeNvml) -> None:
    """The node with the page and the node without one: two runs, as of two nodes."""
    flags = ["serve", "org/big", "--served-model-name", "big", "-tp", "2", "--nnodes", "2", "--master-addr", "h1"]
    units = []
    for rank, rest in (("0", ["--port", free_port()]), ("1", ["--headless"])):
        with launched(tmp_path / rank, "vllm", [*flags, "--node-rank", rank, *rest]) as server:
            fake_nvml.write({"gpu0.process.0": f"{server.worker} 60000000000"})
            units.append(messages(fake_nvml)["gpu-power"]["placements"][0])

    assert [("big", "rendezvous:h1", "big")] * 2 == [
        (unit["deployment"], unit["replica"], unit["model_served"]) for unit in units
    ]


def test_check_says_which_flag_to_add(tmp_path: Path, fake_nvml: FakeNvml) -> None:
    """A server without metrics is a fault with its remedy, and still has its GPU."""
    arguments = ["serve", "--model-path", "big", "--port", free_port()]
    with launched(tmp_path / "s", "sglang", arguments, page="") as server:
        fake_nvml.write({"gpu0.process.0": f"{server.worker} 60000000000"})
        done = agent(fake_nvml, "check")

    assert f"http://127.0.0.1:{server.port}: metrics_disabled" in done.stdout
    assert "add --enable-metrics" in done.stdout
    assert f"big/n1:{server.port}: 1 GPUs, by process" in done.stdout


def test_check_says_that_nothing_was_found(fake_nvml: FakeNvml) -> None:
    """With what to do."""
    assert "none configured, and none found behind 0 processes on GPUs" in agent(fake_nvml, "check").stdout
