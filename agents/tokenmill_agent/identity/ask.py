"""One bounded request to an address that this node was told: no proxies, no redirects, a limit on time and size."""

import http.client
import ssl
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_CHUNK_BYTES: Final = 64 * 1024


class AskError(Exception):
    """There was no answer of use; the message says why in a few words, without the address."""


def ask(
    url: str,
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int,
    method: str = "GET",
    context: ssl.SSLContext | None = None,
) -> bytes:
    """Return the body of an answer with status 200; `http.client` knows of no proxy and follows nothing.

    Raises:
        AskError: no connection, not in time, another status, or more than `max_bytes`.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + timeout_seconds
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_seconds, context)
        try:
            connection.request(method, path, headers={"User-Agent": "tokenmill-agent", **headers})
            return _body(connection.getresponse(), deadline, max_bytes)
        finally:
            connection.close()
    except TimeoutError:
        raise AskError(f"no answer within {timeout_seconds:g} s") from None
    except ssl.SSLError as error:
        raise AskError(f"TLS: {error.reason or 'failed'}") from None
    except OSError as error:
        raise AskError(f"no connection: {error.strerror or type(error).__name__}") from None
    except (http.client.HTTPException, ValueError) as error:
        raise AskError(f"no HTTP: {type(error).__name__}") from None


def _connection(
    scheme: str, host: str, port: int | None, timeout_seconds: float, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout_seconds, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout_seconds)


def _body(response: http.client.HTTPResponse, deadline: float, max_bytes: int) -> bytes:
    if response.status != http.client.OK:
        raise AskError(f"status {response.status}")
    chunks: list[bytes] = []
    size = 0
    # read1 returns what is there, so that a server that sends a byte now and then does not hold its reader.
    while chunk := response.read1(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise AskError(f"the answer is larger than {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise AskError("the answer was cut off")
    return b"".join(chunks)
