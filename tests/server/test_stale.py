"""The user is told that the rules have changed where any front end shows it: in the terminals, and once a change."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.server.access_facts import read_stale
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from jupyter_hpcsec.server.stale import Teller, in_words
from tests.hub.jupyter_client import BASE
from tests.server.realserver import RealServer, rules

STALE = {"since": 1, "ends_at": 86400, "reason": "The access policy has changed."}


def test_each_change_is_told_once_and_what_can_not_be_read_says_nothing() -> None:
    answers: list[dict[str, Any] | Exception | None] = [
        None, STALE, STALE, Unavailable("x"), STALE, {**STALE, "ends_at": 90000}, None, None,
    ]  # fmt: skip
    told: list[str] = []

    def read() -> dict[str, Any] | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    teller = Teller(read, told.append)
    while answers:
        teller.look()
    assert told == [in_words(STALE), in_words({**STALE, "ends_at": 90000}), in_words(None)]


def test_the_words_say_why_when_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_words(STALE).startswith("The access policy has changed. IT ENDS AT ")
    assert "start it again" in in_words(STALE)
    assert "goes on" in in_words(None)


def test_only_the_agents_form_is_read(tmp_path: Path) -> None:
    environment = {SESSION_VARIABLE: str(tmp_path / "session.json")}
    assert read_stale({}) is None and read_stale(environment) is None
    (tmp_path / "stale.json").write_text(json.dumps(STALE))
    assert read_stale(environment) == STALE
    for wrong in ("[]", "{", '{"since": 1}', '{"since": "x", "ends_at": 1, "reason": ""}'):
        (tmp_path / "stale.json").write_text(wrong)
        with pytest.raises(Malformed):
            read_stale(environment)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    made = RealServer(tmp_path)
    yield made
    made.stop()


async def test_an_open_terminal_says_so_and_one_that_is_looked_at_later(server: RealServer) -> None:
    await server.start(rules(server.home))
    _, terminal = await server.client.request("POST", "/api/terminals", {})

    async def shows(*, then: str = "") -> None:
        async with websockets.unix_connect(
            str(server.socket), uri=f"ws://localhost{BASE}/terminals/websocket/{terminal['name']}",
            additional_headers={"Authorization": f"token {server.client.token}"},
        ) as connection:  # fmt: skip
            if then:
                (server.private / "stale.json").write_text(then)
            shown = ""
            async with asyncio.timeout(60):
                while "IT ENDS AT" not in shown:
                    kind, *rest = json.loads(await connection.recv())
                    shown += rest[0] if kind == "stdout" else ""

    await shows(then=json.dumps(STALE))
    await shows()
