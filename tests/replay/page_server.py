"""Plays one process life of an inference server: serves the page that its parent last handed in, on one port.

Run as `python -S page_server.py PORT`. The parent writes a line of JSON (`path`, `status`, `content_type`, `length`)
and that many bytes; the answer `ok` says that they are served. When its input ends, the process ends. It imports
little, so that it listens within milliseconds.
"""

import io
import json
import select
import socket
import sys

NOT_FOUND = (404, "text/plain", b"")


def main() -> None:
    """Serve until the parent is gone."""
    pages: dict[str, tuple[int, str, bytes]] = {}
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(64)
    # Unbuffered: what select says of the descriptor is then true of the stream.
    orders = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 - closed with the process
    waiting = [orders.fileno(), listener.fileno()]
    while True:
        ready, _, _ = select.select(waiting, [], [])
        if orders.fileno() in ready:
            line = _line(orders)
            if not line:
                return
            order = json.loads(line)
            pages = {order["path"]: (order["status"], order["content_type"], _exactly(orders, order["length"]))}
            sys.stdout.buffer.write(b"ok\n")
            sys.stdout.buffer.flush()
        else:
            connection, _ = listener.accept()
            with connection:
                _answer(connection, pages)


def _line(stream: io.FileIO) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = stream.read(1)
        if not byte:
            return b""
        line += byte
    return line


def _exactly(stream: io.FileIO, length: int) -> bytes:
    body = b""
    while len(body) < length:
        body += stream.read(length - len(body)) or b""
    return body


def _answer(connection: socket.socket, pages: dict[str, tuple[int, str, bytes]]) -> None:
    connection.settimeout(10)
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(65536)
        if not part:
            return
        request += part
    path = request.split(b" ", 2)[1].decode()
    status, content_type, body = pages.get(path, NOT_FOUND)
    head = f"HTTP/1.1 {status} Replayed\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)


if __name__ == "__main__":
    main()
