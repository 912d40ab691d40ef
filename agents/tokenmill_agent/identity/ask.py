"""One bounded request to an address that this node was told, with headers of its own."""

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from tokenmill_agent.servers.fetch import FetchError, fetch


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
    """Return the body of an answer with status 200; no proxy is asked and nothing is followed.

    Raises:
        AskError: no connection, not in time, another status, or more than `max_bytes`.
    """
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        return fetch(
            url,
            path=path,
            method=method,
            headers=headers,
            timeout_seconds=timeout_seconds,
            max_bytes=max_bytes,
            tls=context,
        ).body
    except FetchError as error:
        raise AskError(str(error)) from None
