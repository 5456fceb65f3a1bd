"""A small client for a Jupyter server on a unix socket: requests, and cells run over the kernel's websocket."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import websockets

BASE = "/user/alice"


class Client:
    """Speaks as the holder of ``token``."""

    def __init__(self, socket: Path, token: str) -> None:
        self.socket, self.token = socket, token

    async def request(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON (or text) of one request below the base URL."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {BASE}{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Authorization: token {self.token}\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        header = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n", header)
        answer = await reader.readexactly(int(length[1])) if length else await reader.read()
        writer.close()
        try:
            return int(header.split()[1]), json.loads(answer)
        except ValueError:
            return int(header.split()[1]), answer.decode(errors="replace")

    async def start_kernel(self) -> str:
        status, kernel = await self.request("POST", "/api/kernels", {"name": "python3"})
        assert status == 201, kernel
        return str(kernel["id"])

    async def run(self, kernel: str, code: str) -> str:
        """What a cell prints, and its error."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        said = []
        for kind, answer in await self.ask(kernel, "shell", "execute_request", content):
            if kind == "stream":
                said.append(answer["text"])
            elif kind == "error":
                said.append(f"{answer['ename']}: {answer['evalue']}\n")
            elif kind in {"execute_result", "display_data"}:
                said.append(" ".join(sorted(answer["data"])) + "\n")
        return "".join(said)

    async def ask(
        self, kernel: str, channel: str, kind: str, content: Any, *, replies: bool = True
    ) -> list[tuple[str, Any]]:
        """Send one message; all that comes back for it until the kernel is idle and, if it ``replies``, has done so."""
        header = {"msg_id": "1", "msg_type": kind, "username": "a", "session": "s", "version": "5.4", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}
        found: list[tuple[str, Any]] = []
        async with websockets.unix_connect(
            str(self.socket), uri=f"ws://localhost{BASE}/api/kernels/{kernel}/channels", max_size=None,
            additional_headers={"Authorization": f"token {self.token}"},
        ) as connection:  # fmt: skip
            await connection.send(json.dumps({**message, "channel": channel}))
            idle, replied = False, not replies
            while not (idle and replied):
                got = json.loads(await connection.recv())
                if got["parent_header"].get("msg_id") != "1":
                    continue
                found.append((got["msg_type"], got["content"]))
                idle = idle or (got["msg_type"] == "status" and got["content"]["execution_state"] == "idle")
                replied = replied or got["msg_type"] == kind.replace("_request", "_reply")
        return found
