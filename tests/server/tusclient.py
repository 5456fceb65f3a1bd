"""A small tus client for tests: one connection a request, every header as the test wants it."""

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from tests.hub.jupyter_client import BASE

API = f"{BASE}/hpcsec/api/transfers"


class Answer:
    """Status, headers in lower case, body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if raw else 0
        self.headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:])}

    @property
    def message(self) -> str:
        return str(json.loads(self.body).get("message"))

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


def checksum(data: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(data).digest()).decode()}"


def whole(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


class Tus:
    """Speaks to the server behind ``socket`` as the holder of ``token``."""

    def __init__(self, socket: Path, token: str, directory: str) -> None:
        self.socket, self.token, self.uploads = socket, token, f"{API}/uploads/{directory}"

    def head(self, method: str, target: str, headers: dict[str, str]) -> bytes:
        said = {"Host": "localhost", "Authorization": f"token {self.token}", "Tus-Resumable": "1.0.0"}
        said |= {"Connection": "close", **headers}
        lines = [f"{name}: {value}" for name, value in said.items() if value]
        return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode()

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if method in {"PATCH", "POST"}:
            named.setdefault("Content-Length", str(len(body)))
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=2**20)
        try:
            writer.write(self.head(method, target, named) + body)
            return Answer(await reader.read())
        except ConnectionError:
            return Answer(b"")
        finally:
            writer.close()

    async def create(self, path: str, length: int, **headers: str) -> Answer:
        return await self.ask("POST", f"{self.uploads}/{path}", b"", Upload_Length=str(length), **headers)

    async def piece(self, url: str, offset: int, data: bytes, **headers: str) -> Answer:
        named = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": str(offset), **headers}
        return await self.ask("PATCH", url, data, **named)

    async def cut(self, url: str, offset: int, data: bytes, sent: int, **headers: str) -> None:
        """Say that all of ``data`` comes, send the first part of it, and be gone."""
        named = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        _, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(self.head("PATCH", url, {**named, "Content-Length": str(len(data))}) + data[:sent])
        await writer.drain()
        writer.close()

    async def begin(self, path: str, length: int, **headers: str) -> str:
        made = await self.create(path, length, **headers)
        assert made.status == 201, made.body
        return made.headers["location"]

    async def send(self, path: str, data: bytes, **headers: str) -> Answer:
        """All of it in one piece."""
        url = await self.begin(path, len(data), **headers)
        return await self.piece(url, 0, data, Repr_Digest=whole(data))

    async def json(self, target: str) -> Any:
        return json.loads((await self.ask("GET", f"{API}/{target}")).body)
