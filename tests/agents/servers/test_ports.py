"""Tests of process trees and listening ports, with real processes."""

import os
import socket
from pathlib import Path

import pytest

from tests.agents.servers.launched import launched
from tokenmill_agent.clock import process_start_since_boot_us
from tokenmill_agent.servers.ports import Processes, listening, lives


def test_family_of_a_worker(tmp_path: Path) -> None:
    """It reaches up to the first process of the session and down again, and not beyond."""
    with launched(tmp_path, "server", []) as server:
        assert {server.pid, server.worker} == set(Processes().family(server.worker))


def test_family_of_nobody() -> None:
    """A process that is gone has none."""
    assert [] == Processes().family(2**22 - 1)


def test_below(tmp_path: Path) -> None:
    """A process comes before what it began."""
    with launched(tmp_path, "server", []) as server:
        assert [server.pid, server.worker] == Processes().below(server.pid)


def test_port_of_a_process(tmp_path: Path) -> None:
    """Given with the loopback address at which it listens, and with the life of the process."""
    with launched(tmp_path, "server", []) as server:
        (found,) = listening([server.worker, server.pid])

        assert ("127.0.0.1", server.port, server.pid) == (found.host, found.port, found.life.pid)
        assert process_start_since_boot_us(server.pid) == found.life.start_since_boot_us


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_listener_of_every_address_is_reached_by_loopback(host: str) -> None:
    """Whatever the interface."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server((host, 0), family=family, dualstack_ipv6=family == socket.AF_INET6) as listener:
        port = listener.getsockname()[1]

        assert ["127.0.0.1"] == [one.host for one in listening([os.getpid()]) if one.port == port]


def test_lives() -> None:
    """Of those that live."""
    assert [os.getpid()] == list(lives([os.getpid(), 2**22 - 1]))
