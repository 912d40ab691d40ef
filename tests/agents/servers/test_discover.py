"""Tests of finding the process that listens, with real processes and sockets."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tokenmill_agent.clock import process_start_since_boot_us
from tokenmill_agent.servers.discover import Listeners, ancestors, local_addresses

LOOPBACK = local_addresses("127.0.0.1")

LISTEN = """
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(port: int = 0) -> Iterator[tuple[int, int]]:
    """Run a process that listens; gives its pid and port."""
    command = [sys.executable, "-S", "-c", LISTEN, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


class TestListeners:
    """Which process listens at a port."""

    def test_finds_the_listening_process(self) -> None:
        """The process is found by its port, with its start counted from boot."""
        with listening() as (pid, port):
            life = Listeners().find(LOOPBACK, port)

            assert life is not None
            assert (pid, process_start_since_boot_us(pid)) == (life.pid, life.start_since_boot_us)

    def test_a_restart_is_another_life(self) -> None:
        """Once the process is gone nobody is found, and its successor is another life."""
        listeners = Listeners()
        with listening() as (_, port):
            first = listeners.find(LOOPBACK, port)
        nobody = listeners.find(LOOPBACK, port)
        with listening(port):
            second = listeners.find(LOOPBACK, port)

        assert None is nobody
        assert first is not None
        assert second is not None
        assert first != second

    def test_shared_socket_belongs_to_the_first_process(self) -> None:
        """Where children inherit the socket, the parent that began first is the server."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            os.set_inheritable(listener.fileno(), True)
            child = subprocess.Popen(["sleep", "60"], close_fds=False)
            try:
                life = Listeners().find(LOOPBACK, listener.getsockname()[1])
            finally:
                child.kill()
                child.wait()

        assert life is not None
        assert os.getpid() == life.pid

    def test_wildcard_and_dual_stack_listeners_match(self) -> None:
        """A server that listens on every address is found by the loopback's."""
        for listener in (
            socket.create_server(("0.0.0.0", 0)),
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True),
        ):
            with listener:
                life = Listeners().find(LOOPBACK, listener.getsockname()[1])

            assert life is not None
            assert os.getpid() == life.pid


class TestLocalAddresses:
    """Which addresses are this node's."""

    def test_loopback_is_local(self) -> None:
        """Names and addresses of this node are recognised, in either family."""
        assert frozenset({bytes([127, 0, 0, 1])}) == LOOPBACK
        assert local_addresses("localhost")

    def test_other_hosts_are_not(self) -> None:
        """An address of nobody here, a name that does not resolve and no name at all are not local."""
        assert [frozenset()] * 3 == [local_addresses(host) for host in ("192.0.2.1", "no-such-host.invalid", "")]


def test_ancestors_lead_from_a_process_up() -> None:
    """The line begins with the process itself and goes on with its parents, without the init process."""
    line = list(ancestors(os.getpid()))

    assert os.getpid() == line[0]
    assert os.getppid() in line or os.getppid() == 1
    assert 1 not in line
