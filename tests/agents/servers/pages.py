"""A web server that gives the pages a test sets, for the agent to read over a real socket."""

import http.server
import threading
from types import TracebackType
from typing import Self

TEXT = "text/plain; version=0.0.4"


class PageServer:
    """Serves `pages` (path to status, content type and body) on a free port of 127.0.0.1; 404 for other paths."""

    def __init__(self, **pages: str) -> None:
        """Take metrics pages by name: `metrics="..."` is served as `/metrics`."""
        self.pages: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        for name, text in pages.items():
            self.show(f"/{name}", text)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers.items())))
                status, content_type, body = outer.pages.get(self.path, (404, TEXT, b""))
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: the test reads `asked`."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def show(self, path: str, text: str, *, status: int = 200, content_type: str = TEXT) -> None:
        """Serve `text` at `path` from now on."""
        self.pages[path] = (status, content_type, text.encode())

    @property
    def url(self) -> str:
        """Return where it serves."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
