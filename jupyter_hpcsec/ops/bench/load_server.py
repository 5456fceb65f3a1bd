"""The server that every way leads to: ``python -I -m jupyter_hpcsec.ops.bench.load_server SOCKET``.

It speaks as much HTTP/1.1 as the load needs, so that a request looks like a browser's: ``GET …/bytes/N`` sends N
bytes, ``PUT /`` swallows a body, ``GET /small`` sends a page of 512 bytes, and ``GET /echo`` turns the connection into
an echo, as if it were a websocket. It must cost little beside a tunnel; what it costs is measured. Not a server for
anything else.
"""

import contextlib
import socket
import sys
import threading
from pathlib import Path

from jupyter_hpcsec.ops.bench.buffers import CHUNK, aligned

WORKERS = 40
SMALL = 512
_HEAD_LIMIT = 4096


def read_head(connection: socket.socket) -> tuple[list[str], bytes]:
    """One request's head as lines, and what came behind it; no lines at the connection's end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(_HEAD_LIMIT)
        if not more or len(data) > _HEAD_LIMIT:
            return [], b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), rest


def length_of(lines: list[str]) -> int:
    """The body's length in a request's head."""
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


def send_zeros(connection: socket.socket, size: int, buffer: memoryview) -> None:
    """Send ``size`` bytes of whatever is in the buffer."""
    while size > 0:
        size -= connection.send(buffer[: min(size, CHUNK)])


def swallow(connection: socket.socket, size: int, buffer: memoryview) -> None:
    """Read ``size`` bytes and forget them."""
    while size > 0:
        count = connection.recv_into(buffer[: min(size, CHUNK)])
        if not count:
            raise ConnectionResetError("the body ended early")
        size -= count


def answer(connection: socket.socket, lines: list[str], rest: bytes, buffer: memoryview) -> bool:
    """Answer one request; whether the connection may carry another."""
    method, path, _ = lines[0].split(" ")
    if path == "/echo":
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while size := connection.recv_into(buffer):
            connection.sendall(buffer[:size])
        return False
    if method == "PUT":
        swallow(connection, length_of(lines) - len(rest), buffer)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    else:
        _, asks, size_text = path.partition("/bytes/")
        size = int(size_text) if asks else SMALL
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode()
        if size <= SMALL:
            connection.sendall(head + bytes(size))
        else:
            connection.sendall(head)
            send_zeros(connection, size, buffer)
    return "connection: close" not in {line.lower() for line in lines}


def work(listener: socket.socket) -> None:
    """Serve one connection after the other, for ever."""
    buffer = aligned()
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError, ValueError), connection:
            while True:
                lines, rest = read_head(connection)
                if not lines or not answer(connection, lines, rest, buffer):
                    break


def main(path: Path) -> None:
    """Listen and serve until a signal ends the process."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(512)
    workers = [threading.Thread(target=work, args=(listener,), daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
