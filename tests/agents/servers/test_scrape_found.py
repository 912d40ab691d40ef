"""Tests of looking at servers that were found, and of what their command lines add to any server."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agents.servers.launched import Launched, launched
from tests.agents.servers.test_found import free_port
from tokenmill_agent.clock import SystemClock
from tokenmill_agent.errors import UsageError
from tokenmill_agent.servers.scrape import TokenLook, TokenWatcher
from tokenmill_agent.servers.settings import ServerSettings


def watcher(*settings: ServerSettings) -> TokenWatcher:
    """Return a watcher of a node called n1."""
    return TokenWatcher(settings, node="n1", clock=SystemClock())


def found_at(server: Launched) -> TokenLook:
    """Return a look at the server above a worker that nobody configured."""
    one = watcher()
    one.find([server.worker])
    return one.look()


@contextmanager
def silent() -> Iterator[str]:
    """Listen and never answer; gives the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class TestFound:
    """A server that nobody configured."""

    def test_is_counted_with_what_its_command_line_says(self, tmp_path: Path) -> None:
        """Counters by the page; role, sizes and precision by the command line, which is said to be the basis."""
        flags = ["-tp", "4", "-q", "fp8", "--kv-transfer-config", '{"kv_role":"kv_consumer"}', "--port", free_port()]
        with launched(tmp_path, "vllm", ["serve", "org/big", "--served-model-name", "big", *flags]) as server:
            look = found_at(server)
        (one,) = look.servers

        assert ([100], [30], [None]) == (look.samples.input_tokens, look.samples.output_tokens, look.samples.reason)
        assert ("big", "org/big", f"n1:{server.port}") == (one.deployment, one.model_root, one.replica)
        assert ("decode", "command_line", "fp8", "command_line") == (
            one.role,
            one.role_basis,
            one.precision,
            one.precision_basis,
        )
        assert (4, 4) == (one.tensor_parallel, one.expected_gpu_count)

    def test_without_metrics_has_a_row_without_counters(self, tmp_path: Path) -> None:
        """The reason says so, the problem says what to add; it is never 0 tokens."""
        arguments = ["--model", "big.gguf", "--port", free_port()]
        with launched(tmp_path, "llama-server", arguments, page="") as server:
            look = found_at(server)

        assert (["metrics_disabled"], [None], [None]) == (
            look.samples.reason,
            look.samples.input_tokens,
            look.samples.output_tokens,
        )
        assert {f"http://127.0.0.1:{server.port}": "metrics_disabled: add --metrics"} == look.problems
        assert [("llama.cpp", "big.gguf")] == [(one.engine, one.model_served) for one in look.servers]

    def test_of_several_nodes_is_named_by_where_they_meet(self, tmp_path: Path) -> None:
        """The leader says the replica that its followers can say too."""
        flags = ["--nnodes", "2", "--node-rank", "0", "--master-addr", "n1", "--master-port", "29501", "-tp", "16"]
        with launched(tmp_path, "vllm", ["serve", "org/big", *flags, "--port", free_port()]) as server:
            (one,) = found_at(server).servers

        assert ("org/big", "rendezvous:n1:29501", 16) == (one.deployment, one.replica, one.expected_gpu_count)

    def test_that_ended_is_not_looked_at(self, tmp_path: Path) -> None:
        """Nothing waits for a port that is closed."""
        one = watcher()
        with launched(tmp_path, "vllm", ["serve", "org/big", "--port", free_port()]) as server:
            one.find([server.worker])
        look = one.look()

        assert ([], {}) == (look.servers, look.problems)

    def test_keeps_its_life_between_looks(self, tmp_path: Path) -> None:
        """The same process is the same server, and its process is known by its address."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--port", free_port()]) as server:
            one = watcher()
            one.find([server.worker])
            ids = [one.look().servers[0].server_id for _ in range(2)]

            assert ids[0] == ids[1]
            assert (server.pid, None) == (one.pid_of(f"http://127.0.0.1:{server.port}"), one.pid_of("http://other:1"))

    def test_never_shows_its_command_line(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in the log nor in what is sent."""
        caplog.set_level(logging.DEBUG)
        flags = ["--api-key", "sk-secret", "--port", free_port()]
        with launched(tmp_path, "sglang", ["serve", "--model-path", "m", *flags], page="") as server:
            look = found_at(server)

        assert "sk-secret" not in caplog.text + repr(look)


class TestConfigured:
    """Configuration beside what is found."""

    def test_wins_key_by_key(self, tmp_path: Path) -> None:
        """What it does not say comes from the command line, and the server is there once."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "-tp", "4", "--port", free_port()]) as server:
            one = watcher(ServerSettings(url=f"http://localhost:{server.port}", deployment="chat", tensor_parallel=2))
            one.find([server.worker])
            (found,) = one.look().servers

        assert ("chat", 2, 4) == (found.deployment, found.tensor_parallel, found.expected_gpu_count)

    def test_a_container_is_not_counted_beside_the_port_that_leads_to_it(self, tmp_path: Path) -> None:
        """A configured server is all that is read of a node where the same page may have an address of its own."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--port", free_port()]) as server:
            one = watcher(ServerSettings(url=f"http://127.0.0.1:{server.port}"))
            far = one._is_configured("192.0.2.1", server.port)

        assert (True, False) == (far, watcher()._is_configured("192.0.2.1", server.port))

    def test_of_another_node_is_passed_over(self) -> None:
        """One file for a fleet names the one node that reads a remote server."""
        one = watcher(ServerSettings(url="http://192.0.2.1:8000", remote=True, node="n2"))

        assert {} == one.look().problems

    def test_remote_needs_a_node(self) -> None:
        """Two nodes that read it would count it twice."""
        with pytest.raises(UsageError, match=r'remote = true needs node = "NAME"'):
            ServerSettings(url="http://192.0.2.1:8000", remote=True)


class TestSideBySide:
    """Servers that hang."""

    def test_a_hanging_server_does_not_hold_up_the_others(self, tmp_path: Path) -> None:
        """It is still waited for while all others were read."""
        looks: list[TokenLook] = []
        with launched(tmp_path, "vllm", ["serve", "m", "--port", free_port()]) as server:
            with silent() as url:
                urls = (url, f"http://127.0.0.1:{server.port}")
                one = watcher(*(ServerSettings(url=url, timeout_seconds=60.0) for url in urls))
                thread = threading.Thread(target=lambda: looks.append(one.look()))
                thread.start()
                while "/v1/models" not in server.asked:
                    thread.join(0.05)

                assert thread.is_alive()
            thread.join()

        assert [[100]] == [look.samples.input_tokens for look in looks]
