"""One bounded request."""

import socket

import pytest

from tests.agents.identity.serving import serving
from tokenmill_agent.identity.ask import AskError, ask


def get(url: str, *, timeout_seconds: float = 10.0, max_bytes: int = 100) -> bytes:
    """Ask with a plain GET."""
    return ask(url, headers={}, timeout_seconds=timeout_seconds, max_bytes=max_bytes)


def test_the_body_is_returned_with_the_query_passed_on() -> None:
    """A status of 200 gives the body; path and query reach the server."""
    with serving(lambda _method, path, _headers: (200, path.encode())) as url:
        assert b"/a?b=c" == get(f"{url}/a?b=c")


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_another_status_is_no_answer(status: int) -> None:
    """Nothing is followed and nothing but 200 is taken."""
    with serving(lambda *_: (status, b"x")) as url, pytest.raises(AskError, match=f"status {status}"):
        get(f"{url}/")


def test_a_large_answer_is_refused() -> None:
    """No server fills the agent's memory."""
    with serving(lambda *_: (200, bytes(1000))) as url, pytest.raises(AskError, match="larger than 100 bytes"):
        get(f"{url}/")


def test_nobody_there_is_said_without_the_address() -> None:
    """A refused connection is one short sentence."""
    with pytest.raises(AskError, match=r"^no connection: Connection refused$"):
        get("http://127.0.0.1:1/")


def test_a_silent_server_costs_the_timeout() -> None:
    """A server that accepts and says nothing is given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(AskError, match=r"no answer within 0\.1 s"):
        get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_seconds=0.1)


def test_no_proxy_is_ever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment does not see the token of a service account."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(lambda *_: (200, b"direct")) as url:
        assert b"direct" == get(f"{url}/")
