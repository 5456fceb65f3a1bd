"""Websockets to apps: refused to others before they open, and passed on as they are."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
import websockets

from tests.server.appclient import COOKIE, OTHERS, websocket
from tests.server.appsession import SECRET
from tests.server.toyapps import APP, EMPTY, RAW


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"cookie": ""}, 403),
        ({"cookie": "jupyterhub-user-alice=wrong:alice"}, 403),
        ({"cookie": f"jupyterhub-user-alice={SECRET}:mallory"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": None}, 403),
        ({"headers": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "websocket"}}, 403),
        ({"cookie": "", "headers": {"Authorization": f"token {SECRET}:alice"}, "origin": "https://evil.example"}, 403),
        ({"path": f"{APP}/not-authorized"}, 403),
        ({"path": "80/socket"}, 404),
        ({"path": f"{APP}@host/socket"}, 404),
        ({"path": f"{EMPTY}/socket"}, 502),
        ({"path": f"{APP}/x"}, 502),
        ({"path": f"{RAW}/garbage"}, 502),
        ({"path": f"{RAW}/switch"}, 502),
    ],
)
async def test_a_websocket_that_may_not_be_is_refused_before_it_opens(
    session: Path, change: dict[str, object], status: int
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        async with websocket(session, **change):  # type: ignore[arg-type]
            pass
    assert refusal.value.response.status_code == status


async def test_a_script_with_a_token_may_open_a_webwebsocket(session: Path) -> None:
    bearer = {"Authorization": f"token {SECRET}:alice"}
    async with websocket(session, cookie="", origin=None, headers=bearer) as opened:
        await opened.send("x")
        assert await opened.recv() == "x"


async def test_an_apps_websocket_sees_no_secret_and_picks_its_subprotocol(session: Path) -> None:
    async with websocket(
        session,
        f"{APP}/socket?token=abc&a=1",
        cookie=f"{COOKIE}; {OTHERS}",
        subprotocols=["bokeh", "secret-of-the-app"],
    ) as opened:
        assert opened.subprotocol == "secret-of-the-app"
        await opened.send("headers")
        seen = json.loads(await opened.recv())
    assert seen["uri"] == "/socket?a=1"
    assert seen["Origin"] == f"http://localhost:{APP}"
    assert seen["Host"] == f"localhost:{APP}"
    assert "Cookie" not in seen
    assert SECRET not in json.dumps(seen)


async def test_messages_of_both_kinds_pass_and_closing_tells_why(session: Path) -> None:
    async with websocket(session) as opened:
        for message in ("täxt", b"\x00\xff", "", b"", "x" * 5_000_000):
            await opened.send(message)
            assert await opened.recv() == message
        await opened.send("flood")
        await asyncio.sleep(0)
        assert sum([len(await opened.recv()) for _ in range(64)]) == 64 << 20
        await opened.send("close")
        with pytest.raises(websockets.ConnectionClosed):
            await opened.recv()
    assert (opened.close_code, opened.close_reason) == (4321, "because")


async def test_the_app_learns_why_the_browser_closed(session: Path) -> None:
    (session / "closed").unlink(missing_ok=True)
    async with websocket(session) as opened:
        await opened.close(4000, "done")
    while not (session / "closed").exists() or not (session / "closed").read_text():
        await asyncio.sleep(0.02)
    assert (session / "closed").read_text() == "4000 done"


async def test_a_message_above_the_limit_ends_the_websocket(session: Path) -> None:
    async with websocket(session) as opened:
        with contextlib.suppress(websockets.ConnectionClosed):
            await opened.send(b"x" * (33 << 20))
        with pytest.raises(websockets.ConnectionClosed):
            await opened.recv()
    assert opened.close_code in {1006, 1009}
