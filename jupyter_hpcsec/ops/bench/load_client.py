"""The client of every way: ``python -I -m jupyter_hpcsec.ops.bench.load_client SOCKET``.

Takes orders as JSON lines on its own unix socket, from one who orders at a time, and answers each with one JSON line:
so that starting it is no part of a measure. ``where`` is a unix socket's path, or ``[host, port]``. Times are seconds.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.ops.bench.buffers import aligned

PATIENCE_S = 60.0
_HEAD_LIMIT = 64 * 1024

Where = str | list[Any]


def connect(where: Where) -> socket.socket:
    """A connection to the way's entrance."""
    if isinstance(where, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_S)
        connection.connect(where)
        return connection
    connection = socket.create_connection((where[0], where[1]), timeout=PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(path: str, *, is_last: bool, method: str = "GET", size: int = 0, upgrade: bool = False) -> bytes:
    """A request's head, about as long as a browser's."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: bench.hpcsec.internal",
        f"User-Agent: {'x' * 110}",
        f"Cookie: {'y' * 160}",
        f"Connection: {'close' if is_last else 'upgrade' if upgrade else 'keep-alive'}",
        *(["Upgrade: websocket"] if upgrade else []),
        *([f"Content-Length: {size}"] if size else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class Response:
    """One whole response: bytes of its body, when its first byte came (``perf_counter``), was it the last."""

    size: int
    first: float
    is_last: bool


def read_response(connection: socket.socket, buffer: memoryview) -> Response:
    """Read one response to its end."""
    data, first = b"", 0.0
    while b"\r\n\r\n" not in data:
        more = connection.recv(_HEAD_LIMIT)
        first = first or time.perf_counter()
        if not more or len(data) > _HEAD_LIMIT:
            raise ConnectionResetError(f"no answer but {data[:200]!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    if lines[0].split(" ")[1] not in {"200", "101"}:
        raise ConnectionResetError(f"the answer was {lines[0]}")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    size = int(fields.get("content-length", "0"))
    got = len(rest)
    while got < size:
        count = connection.recv_into(buffer)
        if not count:
            raise ConnectionResetError(f"the body ended after {got} of {size} bytes")
        got += count
    return Response(got, first, fields.get("connection") == "close")


def in_threads(work: Callable[[], None], count: int) -> float:
    """Seconds for ``count`` threads to do the work at the same time. The first error of any is raised."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except (OSError, ValueError) as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - begin


def download(where: Where, path: str, size: int, streams: int) -> dict[str, Any]:
    """Fetch ``path`` (of ``size`` bytes) over each of so many streams at once."""

    def one() -> None:
        with connect(where) as connection:
            connection.sendall(request(path, is_last=True))
            got = read_response(connection, aligned()).size
            if got != size:
                raise ValueError(f"{got} bytes came instead of {size}")

    return {"seconds": in_threads(one, streams)}


def upload(where: Where, size: int, streams: int) -> dict[str, Any]:
    """Send ``size`` bytes over each of so many streams at once."""

    def one() -> None:
        buffer, left = aligned(), size
        with connect(where) as connection:
            connection.sendall(request("/", is_last=True, method="PUT", size=size))
            while left > 0:
                left -= connection.send(buffer[:left])
            if b" 204 " not in connection.recv(_HEAD_LIMIT):
                raise ValueError("the upload was not taken")

    return {"seconds": in_threads(one, streams)}


def one_shot(where: Where, path: str, count: int, pause_s: float) -> dict[str, Any]:
    """So many requests, each on a connection of its own: seconds to the first byte and to the end of each."""
    firsts, totals, buffer = [], [], aligned()
    for _ in range(count):
        begin = time.perf_counter()
        with connect(where) as connection:
            connection.sendall(request(path, is_last=True))
            response = read_response(connection, buffer)
            totals.append(time.perf_counter() - begin)
            firsts.append(response.first - begin)
        time.sleep(pause_s)
    return {"first_byte": firsts, "total": totals}


def writes(where: Where, count: int, pause_s: float) -> dict[str, Any]:
    """So many uploads of 64 bytes, each on a connection of its own: seconds of each."""
    totals = []
    for _ in range(count):
        begin = time.perf_counter()
        with connect(where) as connection:
            connection.sendall(request("/", is_last=True, method="PUT", size=64) + b"x" * 64)
            if b" 204 " not in connection.recv(_HEAD_LIMIT):
                raise ValueError("the upload was not taken")
            totals.append(time.perf_counter() - begin)
        time.sleep(pause_s)
    return {"total": totals}


def keep_alive(where: Where, path: str, count: int) -> dict[str, Any]:
    """So many requests one after the other, as a browser makes them: seconds of each, and how many connections it took.

    All go over one connection unless the other side ends it (``Connection: close``, RFC 9112, 9.6); making the next
    one then belongs to the next request.
    """
    totals, connections, buffer = [], 0, aligned()
    connection: socket.socket | None = None
    try:
        for _ in range(count):
            begin = time.perf_counter()
            if connection is None:
                connection, connections = connect(where), connections + 1
            connection.sendall(request(path, is_last=False))
            response = read_response(connection, buffer)
            totals.append(time.perf_counter() - begin)
            if response.is_last:
                connection.close()
                connection = None
    finally:
        if connection:
            connection.close()
    return {"total": totals, "connections": connections}


def keystrokes(where: Where, count: int, every_s: float, size: int) -> dict[str, Any]:
    """Small messages to the echo and back on one stream, one each ``every_s``: seconds of each."""
    totals, buffer, message = [], aligned(), b"k" * size
    with connect(where) as connection:
        connection.sendall(request("/echo", is_last=False, upgrade=True))
        read_response(connection, buffer)
        due = time.perf_counter()
        for _ in range(count):
            due = max(due + every_s, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
            begin = time.perf_counter()
            connection.sendall(message)
            left = size
            while left > 0:
                got = len(connection.recv(left))
                if not got:
                    raise ConnectionResetError("the echo ended")
                left -= got
            totals.append(time.perf_counter() - begin)
    return {"total": totals}


class Background:
    """A download that goes on until it is told to stop: what a keystroke has to pass."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._bytes = 0
        self._begin = 0.0
        self._error: BaseException | None = None

    def start(self, where: Where, size: int) -> dict[str, Any]:
        """Begin, and answer once bytes flow."""
        self._stop.clear()
        self._bytes, self._begin, self._error = 0, time.perf_counter(), None
        flows = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(where, size, flows), daemon=True)
        self._thread.start()
        flows.wait(PATIENCE_S)
        return {}

    def _run(self, where: Where, size: int, flows: threading.Event) -> None:
        buffer = aligned()
        try:
            while not self._stop.is_set():
                with connect(where) as connection:
                    connection.sendall(request(f"/bytes/{size}", is_last=True))
                    while not self._stop.is_set() and (count := connection.recv_into(buffer)):
                        self._bytes += count
                        flows.set()
        except OSError as error:
            self._error = error
        finally:
            flows.set()

    def stop(self) -> dict[str, Any]:
        """End it: bytes and seconds."""
        seconds = time.perf_counter() - self._begin
        self._stop.set()
        if self._thread:
            self._thread.join(PATIENCE_S)
        if self._error:
            raise ConnectionResetError(f"the download in the background broke: {self._error}")
        return {"bytes": self._bytes, "seconds": seconds}


def main(path: Path) -> None:
    """Take orders until the one who orders has gone."""
    background = Background()
    orders: dict[str, Callable[..., dict[str, Any]]] = {
        "download": download,
        "upload": upload,
        "one_shot": one_shot,
        "keep_alive": keep_alive,
        "writes": writes,
        "keystrokes": keystrokes,
        "start": background.start,
        "stop": background.stop,
    }
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    connection, _ = listener.accept()
    with connection.makefile("rw") as lines:
        for line in lines:
            order = json.loads(line)
            begin = time.process_time()
            try:
                result = orders[order.pop("do")](**order)
            except (OSError, ValueError) as error:
                result = {"error": str(error) or type(error).__name__}
            lines.write(json.dumps({**result, "cpu": time.process_time() - begin}) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
