"""The browser of somebody, for the tests of the app proxy."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import websockets

from tests.server.appsession import SECRET
from tests.server.toyapps import APP

SITE = "hub.example"
APPS = "/user/alice/hpcsec/app/"
COOKIE = f"jupyterhub-user-alice={SECRET}:alice"
OTHERS = "_xsrf=2|x; jupyterhub-session-id=s1; username-hub=u1; _oauth2_proxy=sso"
OWNER = f"Host: {SITE}\nCookie: {COOKIE}\nOrigin: http://{SITE}\n"
"""Lines of a raw request."""


def client(session: Path, cookie: str = "", **headers: str) -> httpx.AsyncClient:
    """A browser on a page of this site."""
    default = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(session / "s")),
        base_url=f"http://{SITE}{APPS}",
        headers=default | ({"Cookie": cookie} if cookie else {}) | headers,
        timeout=60,
    )


async def exchange(session: Path, request: str, body: bytes = b"") -> bytes:
    """Bytes as they are, and all that is answered."""
    reader, writer = await asyncio.open_unix_connection(str(session / "s"))
    writer.write(request.replace("\n", "\r\n").encode("latin1") + body)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


def status(answer: bytes) -> int:
    """Of a raw answer."""
    return int(answer.split()[1])


def websocket(
    session: Path,
    path: str = f"{APP}/socket",
    *,
    cookie: str = COOKIE,
    origin: str | None = f"http://{SITE}",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> websockets.unix_connect:
    """A websocket that a page opens."""
    return websockets.unix_connect(
        str(session / "s"),
        f"ws://{SITE}{APPS}{path}",
        origin=origin,  # type: ignore[arg-type]
        additional_headers=({"Cookie": cookie} if cookie else {}) | (headers or {}),
        compression=None,
        max_size=None,
        **more,
    )
