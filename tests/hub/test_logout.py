"""A logout cuts the user's open connections; without the hook JupyterHub leaves them."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub import logout


class Client:
    def __init__(self, error: Exception | None = None) -> None:
        self.cuts: list[tuple[str, str]] = []
        self.error = error

    async def cut(self, session: str, reason: str) -> None:
        if self.error:
            raise self.error
        self.cuts.append((session, reason))


def handler_class(events: list[str]) -> type[Any]:
    class Handler:
        log = logging.getLogger("test.logout")

        def __init__(self, user: Any) -> None:
            self.current_user = user

        async def default_handle_logout(self) -> None:
            events.append("cookie cleared")

    return Handler


def make_user(client: Client, *sessions: str) -> Any:
    link = SimpleNamespace(client=client)
    spawners = {str(n): SimpleNamespace(session=s, gateway=lambda: link) for n, s in enumerate(sessions)}
    return SimpleNamespace(name="alice", spawners={**spawners, "other": SimpleNamespace()})


async def test_without_the_hook_connections_stay_open() -> None:
    client, events = Client(), []
    await handler_class(events)(make_user(client, "s1")).default_handle_logout()
    assert (events, client.cuts) == (["cookie cleared"], [])


async def test_a_logout_cuts_every_session_of_the_user_once() -> None:
    client, events = Client(), []
    handler = handler_class(events)
    logout.install(handler)
    logout.install(handler)
    await handler(make_user(client, "s1", "", "s2")).default_handle_logout()
    assert client.cuts == [("s1", logout.REASON), ("s2", logout.REASON)]
    assert events == ["cookie cleared"]


async def test_nobody_logged_in_is_nothing_to_cut() -> None:
    events: list[str] = []
    handler = handler_class(events)
    logout.install(handler)
    await handler(None).default_handle_logout()
    assert events == ["cookie cleared"]


async def test_a_gateway_that_is_away_does_not_stop_the_logout(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []
    handler = handler_class(events)
    logout.install(handler)
    await handler(make_user(Client(Unavailable("no gateway")), "s1")).default_handle_logout()
    assert events == ["cookie cleared"]
    assert "could not be cut" in caplog.text
