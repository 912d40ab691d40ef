"""Tests of the bounded GET against real sockets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.agents.servers.pages import PageServer
from tokenmill_agent.servers.fetch import ACCEPT_TEXT, Document, FetchError, fetch


def get(url: str, path: str = "/metrics", *, timeout_seconds: float = 20.0, max_bytes: int = 1000) -> Document:
    """Fetch with generous limits."""
    return fetch(url, path=path, timeout_seconds=timeout_seconds, max_bytes=max_bytes)


@contextmanager
def answering(*parts: bytes, hang: bool = False) -> Iterator[str]:
    """Serve one connection with raw bytes, and close it unless it shall hang."""
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                if hang:
                    released.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            released.set()
            thread.join()


class TestFetch:
    """One GET against a server that behaves, or not."""

    def test_gives_body_and_content_type(self) -> None:
        """A page comes as it was served."""
        with PageServer(metrics="up 1\n") as server:
            document = get(server.url)

        assert Document(body=b"up 1\n", content_type="text/plain; version=0.0.4") == document

    def test_asks_for_plain_text_only(self) -> None:
        """OpenMetrics is never asked for, nor is a compressed page."""
        with PageServer(metrics="up 1\n") as server:
            get(server.url)

        _, headers = server.asked[0]
        assert (ACCEPT_TEXT, "identity") == (headers["Accept"], headers["Accept-Encoding"])

    def test_uses_name_and_password_of_the_url(self) -> None:
        """Credentials in a URL are used as basic authentication."""
        with PageServer(metrics="up 1\n") as server:
            get(server.url.replace("http://", "http://me:p%40ss@"))

        assert "Basic bWU6cEBzcw==" == server.asked[0][1]["Authorization"]

    @pytest.mark.parametrize("status", [302, 404, 500, 503])
    def test_any_other_status_is_no_page(self, status: int) -> None:
        """A redirect is not followed and an error page is not read."""
        with PageServer() as server:
            server.show("/metrics", "vllm:prompt_tokens_total 5\n", status=status)
            with pytest.raises(FetchError, match=f"status {status}") as caught:
                get(server.url)

        assert (status, False) == (caught.value.status, caught.value.timed_out)

    def test_too_large(self) -> None:
        """A page beyond the limit is given up, not cut."""
        with PageServer(metrics="x" * 200_000) as server, pytest.raises(FetchError, match="larger than 1000 bytes"):
            get(server.url)

    def test_nobody_listens(self) -> None:
        """A closed port says that there is no connection."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

        with pytest.raises(FetchError, match="no connection: Connection refused"):
            get(f"http://127.0.0.1:{port}")

    def test_cut_off(self) -> None:
        """A page that ends before its announced length is no page."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        with answering(head, b"up 1\n") as url, pytest.raises(FetchError, match="cut off at 5 of 100"):
            get(url)

    @pytest.mark.parametrize(
        "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
    )
    def test_no_http(self, answer: bytes) -> None:
        """A port that speaks something else says so."""
        with answering(answer) as url, pytest.raises(FetchError, match="no HTTP"):
            get(url)

    def test_hanging_server(self) -> None:
        """The deadline holds over the whole exchange, also after a first part of the page came."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nup"
        with answering(head, hang=True) as url, pytest.raises(FetchError, match="no answer within") as caught:
            get(url, timeout_seconds=0.3)

        assert (None, True) == (caught.value.status, caught.value.timed_out)

    def test_chunked_page(self) -> None:
        """A page sent in chunks is put together."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        with answering(head, b"3\r\nup \r\n2\r\n1\n\r\n0\r\n\r\n") as url:
            assert b"up 1\n" == get(url).body
