"""Who else comes into a session is on record, by what the hub answers; its owner is not."""

import json
from typing import Any

import pytest

from jupyter_hpcsec.tunnel.visits import AGAIN_S, REMEMBERED, Visits


class Noted:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def note(self, event: Any, *_: Any) -> None:
        self.events.append(event)

    async def keep(self, event: Any, *_: Any) -> None:
        raise NotImplementedError

    def require(self) -> None:
        raise NotImplementedError


class Site:
    def __init__(self) -> None:
        self.now, self.noted = 50.0, Noted()
        self.visits = Visits("a" * 32, "alice", self.noted, lambda: self.now)

    def asked(self, **model: Any) -> int:
        self.visits.answered(json.dumps(model).encode())
        return len(self.noted.events)


def test_the_owner_is_no_visitor_and_everybody_else_is() -> None:
    site = Site()
    assert site.asked(name="alice", kind="user", token_id="a1") == 0
    assert site.asked(name="admin", kind="user", token_id="a7", admin=True, scopes=["access:servers"]) == 1
    assert site.asked(name="alice", kind="service", token_id="a8") == 2, "a service may have a user's name"
    event = site.noted.events[0]
    assert (event.subject.user, event.subject.impersonator) == ("alice", "admin")
    assert (event.session, event.visitor, event.credential) == ("a" * 32, "user", "a7")


def test_a_visitor_who_goes_on_is_told_now_and_then() -> None:
    site = Site()
    for _ in range(10):
        assert site.asked(name="bob", kind="user", token_id="a1") == 1
    assert site.asked(name="bob", kind="user", token_id="a2") == 2, "with another token"
    site.now += AGAIN_S
    assert site.asked(name="bob", kind="user", token_id="a1") == 3
    for number in range(REMEMBERED * 3):
        site.asked(name=f"u{number}", kind="user")
    assert len(site.visits._told) == REMEMBERED


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b"\xff", b"1", b"[" * 100_000])
def test_an_answer_that_is_none_is_on_record(body: bytes) -> None:
    site = Site()
    site.visits.answered(body)
    (event,) = site.noted.events
    assert event.visitor == "unknown"
