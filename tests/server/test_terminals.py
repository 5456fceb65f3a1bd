"""A terminal of a real server: what its shell has of the server without us, and with us."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from jupyter_hpcsec.access import landlock
from tests.hub.jupyter_client import BASE
from tests.server.realserver import HUB_TOKEN, RealServer, rules

needs_landlock = pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6 for its scopes")

OWN_CLASS = """
from jupyter_server_terminals.terminalmanager import TerminalManager
class Mine(TerminalManager): pass
c.TerminalsExtensionApp.terminal_manager_class = Mine
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    made = RealServer(tmp_path)
    yield made
    made.stop()


async def type_in(server: RealServer, line: str) -> str:
    """What a new terminal shows of a line's outcome, between two words that the line itself does not hold."""
    status, terminal = await server.client.request("POST", "/api/terminals", {})
    assert status == 200
    shown = ""
    async with websockets.unix_connect(
        str(server.socket), uri=f"ws://localhost{BASE}/terminals/websocket/{terminal['name']}",
        additional_headers={"Authorization": f"token {server.client.token}"},
    ) as connection:  # fmt: skip
        await connection.send(json.dumps(["stdin", f"echo be''gin; {line}; echo e''nd\r"]))
        async with asyncio.timeout(60):
            while "end\r\n" not in shown:
                kind, *rest = json.loads(await connection.recv())
                shown += rest[0] if kind == "stdout" else ""
    return shown.split("begin\r\n")[-1].split("end\r\n")[0].replace("\r\n", "\n")


async def attempts(server: RealServer) -> list[str]:
    parent = "$(ps -o ppid= -p $$ | tr -d ' ')"
    tries = [
        f"env | grep -c {HUB_TOKEN}",
        f"tr '\\0' '\\n' < /proc/{parent}/environ | grep -c {HUB_TOKEN}",
        f"kill -0 {parent} && echo signalled",
        f"cat {server.private}/j/jpserver-*.json | grep -c token",
        f"touch {server.private}/server.sock.mine && echo written",
    ]
    return [(await type_in(server, f"({line}) 2>/dev/null")).strip() for line in tries]


@needs_landlock
async def test_without_us_a_shell_has_all_that_the_server_has(server: RealServer) -> None:
    await server.start(None, session=False)
    assert await attempts(server) == ["2", "2", "signalled", "1", "written"]


@needs_landlock
async def test_a_shell_reaches_nothing_of_the_server_whatever_class_is_configured(server: RealServer) -> None:
    await server.start(rules(server.home), config=OWN_CLASS)
    assert await attempts(server) == ["0", "0", "", "0", ""]


@needs_landlock
async def test_a_shell_works_as_ever(server: RealServer) -> None:
    await server.start(rules(server.home))
    assert await type_in(server, "pwd; test -t 0 && echo tty; echo $TERM; echo $HARMLESS") == (
        f"{server.home}\ntty\nxterm-256color\nkept\n"
    )
    assert "143" in await type_in(server, "sh -c 'sleep 99 & kill $!; wait $!; echo $?'")
    assert await type_in(server, "echo x > file && mv file other && cat other") == "x\n"
