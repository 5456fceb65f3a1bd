"""A real Dask cluster in a session's own network: computing, and its pages in the owner's browser, live."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.server import daskapp
from tests.server.appclient import APPS, COOKIE, SITE, client, websocket
from tests.server.appsession import SECRET
from tests.server.conftest import start


@pytest.fixture
async def said(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """The link that the Dask client showed, and the result of its sum."""
    process = await start(tmp_path, programs=[daskapp.__file__])
    try:
        async with asyncio.timeout(60):
            while not (tmp_path / "said").exists():
                await asyncio.sleep(0.1)
        link, total = (tmp_path / "said").read_text().split()
        yield link, total
    finally:
        process.terminate()
        process.wait(30)


async def test_dask_runs_as_usual_and_its_owner_alone_sees_it(said: tuple[str, str], tmp_path: Path) -> None:
    link, total = said
    assert total == "55"
    port = int(re.fullmatch(rf"{APPS}(\d+)/status", link)[1])  # type: ignore[index]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass  # the node's own loopback is another one
    async with client(tmp_path, f"jupyterhub-user-alice={SECRET}:mallory") as mallory:
        assert (await mallory.get(f"http://{SITE}{link}")).status_code == 403
    async with client(tmp_path, COOKIE) as alice:
        page = await alice.get(f"http://{SITE}{link}")
        assert page.status_code == 200
        await _scripts_load(alice, page)
        token = re.search(r'"token":"([^"]+)"', page.text)
        assert token
    async with websocket(tmp_path, f"{port}/status/ws", subprotocols=["bokeh", token[1]]) as live:
        assert live.subprotocol == "bokeh"
        assert "ACK" in str(await asyncio.wait_for(live.recv(), 30))
    async with client(tmp_path, COOKIE) as alice:
        listing = await alice.get(f"{daskapp.FILES}/")
        assert 'href="read%20me.txt"' in listing.text
        assert (await alice.get(f"{daskapp.FILES}/read%20me.txt")).text == "hello"


async def _scripts_load(alice: httpx.AsyncClient, page: httpx.Response) -> None:
    """The page's links lead to where it is."""
    scripts = re.findall(r'<script[^>]* src="([^"]+)"', page.text)
    assert scripts
    for script in scripts:
        answer = await alice.get(page.url.join(script))
        assert answer.url.host == SITE
        assert answer.status_code == 200
        assert "javascript" in answer.headers["Content-Type"]
