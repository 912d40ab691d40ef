"""A local HTTP server that answers what it is told to, and remembers what it was asked."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping

Answer = Callable[[str, str, Mapping[str, str]], tuple[int, bytes]]
"""From method, path and headers (names in lower case) to status and body."""


@contextlib.contextmanager
def serving(answer: Answer, *, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a free port of this machine; gives the URL without a path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = answer(self.command, self.path, headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if context is not None else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
