"""Apps as people run them in a session, and some that break. Run as ``python toyapps.py DIRECTORY``."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from threading import Thread

from tornado import httpserver, web, websocket

APP, ONLY_V6, RAW, EMPTY = 20001, 20002, 20003, 20009
"""Ports: an ordinary app on 127.0.0.1, the same on ::1 alone, one that answers with odd bytes, and nothing."""

ANSWERS = {
    "/truncated": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "/chunks-cut": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "/garbage": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "/nothing": b"",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "/length-and-chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    "/until-close": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold",
    "/interim": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw bytes",
    "/control": b"HTTP/1.1 200 OK\r\nX-Bad: a\x01b\r\nContent-Length: 2\r\n\r\nok",
    "/underscore": b"HTTP/1.1 200 OK\r\nX_Under: 1\r\nContent-Length: 2\r\n\r\nok",
    "/status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "/early": b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
}


async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with bytes that no library would send."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    path = head.split()[1]
    if path == "/echo-head":
        body = head.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    else:
        writer.write(ANSWERS[path])
    await writer.drain()
    if path != "/early":  # that one keeps the connection, and never reads the body
        writer.close()


class Echo(web.RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        headers = {name.lower(): self.request.headers.get_list(name) for name in self.request.headers}
        self.write({"uri": self.request.uri, "body": self.request.body.decode(), "headers": headers})

    post = put = patch = delete = options = get

    async def head(self) -> None:
        self.set_header("Content-Length", "12345")


class Headers(web.RequestHandler):
    def post(self) -> None:
        self.clear_header("Content-Type")
        for name, value in json.loads(self.request.body):
            self.add_header(name, value)
        self.set_status(int(self.get_query_argument("status", "200")))
        self.write("answer") if self.get_status() not in {204, 304} else None


class Stream(web.RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        for i in range(3):
            self.write(f"data: {i}\n\n")
            await self.flush()
            await wait_for(Path(sys.argv[1]) / f"go{i}")


class Bulk(web.RequestHandler):
    async def get(self) -> None:
        for _ in range(int(self.get_query_argument("mib"))):
            self.write(b"x" * (1 << 20))
            await self.flush()


@web.stream_request_body
class Count(web.RequestHandler):
    seen = 0

    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1 << 40)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        self.seen += len(chunk)

    def post(self) -> None:
        self.write(str(self.seen))

    put = post


class Socket(websocket.WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        self.origin = origin
        return super().check_origin(origin)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[-1] if subprotocols else None

    async def on_message(self, message: str | bytes) -> None:
        if message == "headers":
            await self.write_message(dict(self.request.headers.items()) | {"uri": self.request.uri})
        elif message == "close":
            self.close(4321, "because")
        elif message == "flood":
            for _ in range(64):
                await self.write_message(b"y" * (1 << 20), binary=True)
        else:
            await self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        (Path(sys.argv[1]) / "closed").write_text(f"{self.close_code} {self.close_reason}")


async def wait_for(path: Path) -> None:
    while not path.exists():
        await asyncio.sleep(0.02)


async def serve() -> None:
    application = web.Application([
        (r".*/headers", Headers), (r".*/stream", Stream), (r".*/bulk", Bulk), (r".*/count", Count),
        (r".*/socket", Socket), (r".*", Echo),
    ])  # fmt: skip
    server = httpserver.HTTPServer(application)
    server.listen(APP, "127.0.0.1")
    server.listen(ONLY_V6, "::1")
    await asyncio.start_server(raw, "127.0.0.1", RAW)
    await asyncio.Event().wait()


def end_with(parent: int) -> None:
    """Be gone when the session is."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


if __name__ == "__main__":
    Thread(target=end_with, args=[os.getppid()], daemon=True).start()
    asyncio.run(serve())
