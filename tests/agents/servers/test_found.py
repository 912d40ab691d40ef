"""Tests of finding servers that nobody configured, with real processes, sockets and pages."""

import socket
from pathlib import Path

import pytest

from tests.agents.servers.launched import PAGE, launched
from tokenmill_agent.servers.found import Finder


def finder() -> Finder:
    """Return a finder of a node without configuration."""
    return Finder(lambda _host, _port: False)


def free_port() -> str:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


class TestFinder:
    """From a process on a GPU to the page of its server."""

    def test_finds_the_server_above_a_worker(self, tmp_path: Path) -> None:
        """The port is that of the command line, the process the one that listens."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--port", free_port()]) as server:
            one = finder()

            assert one.find([server.worker])
            (found,) = one.found.values()

        assert (f"http://127.0.0.1:{server.port}", "vllm", server.pid) == (found.url, found.engine, found.life.pid)

    def test_finds_a_server_of_an_unknown_program(self, tmp_path: Path) -> None:
        """What its page says is enough."""
        with launched(tmp_path, "my-server", []) as server:
            one = finder()
            one.find([server.worker])

            assert ["vllm"] == [found.engine for found in one.found.values()]

    def test_a_known_process_is_not_looked_at_again(self, tmp_path: Path) -> None:
        """Once found, its page is left to the looks."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--port", free_port()]) as server:
            one = finder()

            assert [True, False, False] == [one.find([server.worker]) for _ in range(3)]
            assert ["/metrics"] == server.asked

    def test_a_server_is_dropped_with_its_process_and_found_anew(self, tmp_path: Path) -> None:
        """A restart at the same port is another server."""
        one = finder()
        arguments = ["serve", "org/big", "--port", free_port()]
        with launched(tmp_path / "1", "vllm", arguments) as first:
            one.find([first.worker])
        gone = (one.find([]), dict(one.found))
        with launched(tmp_path / "2", "vllm", arguments) as second:
            one.find([second.worker])

            assert (True, {}) == gone
            assert [second.pid] == [life.pid for life in one.found]

    def test_tensorrt_llm_is_asked_where_asking_takes_nothing(self, tmp_path: Path) -> None:
        """Its `/metrics` is emptied by every reader and is left alone."""
        arguments = ["org/big", "--port", free_port()]
        with launched(tmp_path, "trtllm-serve", arguments, page="", path="/prometheus/metrics") as server:
            one = finder()
            for _ in range(3):
                one.find([server.worker])

            assert ["/prometheus/metrics"] == server.asked

    def test_a_server_without_metrics_is_found_without_a_page(self, tmp_path: Path) -> None:
        """It runs and answers, but not there."""
        with launched(tmp_path, "sglang", ["serve", "--model-path", "m", "--port", free_port()], page="") as server:
            one = finder()
            one.find([server.worker])
            (found,) = one.found.values()

        assert (None, "add --enable-metrics") == (found.engine, found.launch.remedy if found.launch else None)

    def test_a_follower_has_no_page_and_no_problem(self, tmp_path: Path) -> None:
        """Its leader, on another node, shows the page."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--headless"]) as server:
            one = finder()
            one.find([server.worker])

        assert ({}, {}) == (one.found, one.problems)

    def test_a_configured_server_is_left_alone(self, tmp_path: Path) -> None:
        """Its page is not even asked for."""
        with launched(tmp_path, "vllm", ["serve", "org/big", "--port", free_port()]) as server:
            one = Finder(lambda host, port: (host, port) == ("127.0.0.1", server.port))
            one.find([server.worker])

            assert ([], {}) == (server.asked, one.found)

    def test_a_process_that_loads_is_a_problem_with_a_remedy(self, tmp_path: Path) -> None:
        """It does not listen yet: whoever checks the node sees that it is known."""
        with launched(tmp_path, "sglang", ["serve", "--model-path", "m", "--headless"]) as server:
            one = finder()
            one.find([server.worker])

        assert [f"process {server.pid} (sglang)"] == list(one.problems)
        assert ["no metrics page was found: wait until it listens where this node reaches it"] == list(
            one.problems.values()
        )

    @pytest.mark.parametrize("pid", [0, 2**22 - 1])
    def test_a_process_that_is_gone(self, pid: int) -> None:
        """The driver may list what ended meanwhile."""
        one = finder()

        assert not one.find([pid])

    def test_two_servers_of_one_session(self, tmp_path: Path) -> None:
        """Each worker's own server is found, whatever else runs there."""
        with (
            launched(tmp_path / "1", "vllm", ["serve", "a", "--port", free_port()]) as first,
            launched(tmp_path / "2", "vllm", ["serve", "b", "--port", free_port()], page=PAGE) as second,
        ):
            one = finder()
            one.find([first.worker, second.worker])

            assert {first.pid, second.pid} == {life.pid for life in one.found}
