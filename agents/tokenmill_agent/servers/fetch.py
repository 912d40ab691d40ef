"""One bounded GET: a deadline over all of it, a limit on its size, no redirects, no proxies."""

import base64
import contextlib
import dataclasses
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

ACCEPT_TEXT: Final = "text/plain;version=0.0.4"
"""Asking for OpenMetrics would make some servers rename their samples."""

_PASSING_STATUSES: Final = (408, 425, 429, 500, 502, 503, 504)
_CHUNK_BYTES: Final = 64 * 1024


class FetchError(Exception):
    """A document could not be had; the message says why, in a few words, without the address.

    `answered` is True where the server spoke and gave something else than was asked for, and will do so again: a
    status of a server that is busy or loads is no answer. `status` is the HTTP status where there was another than 200.
    """

    def __init__(
        self, message: str, *, answered: bool = False, status: int | None = None, timed_out: bool = False
    ) -> None:
        super().__init__(message)
        self.answered = answered
        self.status = status
        self.timed_out = timed_out


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a server answered with status 200."""

    body: bytes
    content_type: str | None


def fetch(
    url: str,
    *,
    path: str,
    accept: str = ACCEPT_TEXT,
    timeout_seconds: float,
    max_bytes: int,
    tls: ssl.SSLContext | None = None,
    method: str = "GET",
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Document:
    """GET `path` from the server of `url`; a name and password in `url` are used as basic authentication.

    `tls` says whom to trust, the system's authorities where none is given; `headers` are sent over the usual ones.

    Raises:
        FetchError: no connection, not in time, not status 200, cut off, or larger than `max_bytes`.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        with _connected(url, timeout_seconds, deadline, tls) as connection:
            connection.request(method, path, headers={**_headers(url, accept), **headers})
            return _document(connection.getresponse(), max_bytes)
    except TimeoutError:
        raise FetchError(f"no answer within {timeout_seconds:g} s", timed_out=True) from None
    except ssl.SSLError as error:
        raise FetchError(f"TLS: {error.reason or 'failed'}") from None
    except OSError as error:
        raise FetchError(f"no connection: {error.strerror or type(error).__name__}") from None
    except (http.client.HTTPException, ValueError) as error:
        raise FetchError(f"no HTTP: {type(error).__name__}") from None


@contextlib.contextmanager
def _connected(
    url: str, timeout_seconds: float, deadline: float, tls: ssl.SSLContext | None
) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)
    )
    connection.connect()
    with connection.sock as sock:
        connection.sock = _DeadlineSocket(sock, deadline)
        yield connection


def _document(response: http.client.HTTPResponse, max_bytes: int) -> Document:
    if response.status != http.client.OK:
        status = response.status
        raise FetchError(f"status {status}", answered=status not in _PASSING_STATUSES, status=status)
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise FetchError("a compressed answer that was not asked for", answered=True)
    return Document(body=_body(response, max_bytes), content_type=response.getheader("Content-Type"))


def _body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    length = response.length
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise FetchError(f"the answer is larger than {max_bytes} bytes")
    if length is not None and size != length:
        raise FetchError(f"the answer was cut off at {size} of {length} bytes")
    return b"".join(chunks)


def _headers(url: str, accept: str) -> dict[str, str]:
    parts = urlsplit(url)
    headers = {"Accept": accept, "Connection": "close", "User-Agent": "tokenmill-agent"}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(secret).decode('ascii')}"
    return headers


class _DeadlineSocket:
    """A socket whose every send and receive has only what is left until one deadline.

    A timeout per receive would let a server that sends a byte now and then hold its reader for hours.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left_seconds(self._deadline))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline), _CHUNK_BYTES)

    def close(self) -> None:
        """Do nothing: the response still reads after its connection was closed, and who opened the socket closes it."""


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(_left_seconds(self._deadline))
        return self._sock.recv_into(buffer)


def _left_seconds(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
