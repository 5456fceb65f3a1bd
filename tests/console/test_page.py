"""What every page has: nobody without a login or the scope, nothing by another site, all of it on record."""

import asyncio

import pytest

from jupyter_hpcsec.console import identity
from jupyter_hpcsec.console.page import END, READ, SELF
from tests.console.conftest import PREFIX, XSRF, Place


async def test_the_login_goes_by_the_hub_and_comes_back(place: Place) -> None:
    ada = place.visitor("ada", READ)
    answer = await ada.get("live?user=x")
    assert answer.status_code == 200 and "Live" in answer.text and "ada" in answer.text
    assert answer.request.url.query == b"user=x"
    [entered] = await place.events("console.entered")
    assert entered["subject"]["user"] == "ada" and entered["scopes"] == READ
    [read] = await place.events("audit.read")
    assert (read["subject"]["user"], read["action"]) == ("ada", "live")


async def test_cookies_are_for_the_console_alone(place: Place) -> None:
    ada = place.visitor("ada", READ)
    await ada.get("live")
    cookies = list(ada.client.cookies.jar)
    assert {cookie.name for cookie in cookies} >= {"service-hpcsec", "_xsrf"}
    for cookie in cookies:
        assert cookie.path == PREFIX
        assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "Lax"
    by_tls = await place.get("live", **{"X-Forwarded-Proto": "https"})
    assert all("secure" in value.lower() for value in by_tls.headers.get_list("set-cookie"))


async def test_the_prefix_leads_to_the_first_page_that_one_may_open(place: Place) -> None:
    answer = await place.visitor("ada", READ).get("")
    assert str(answer.request.url).endswith(f"{PREFIX}live")


async def test_a_login_that_somebody_else_began_is_refused(place: Place) -> None:
    """A code of eve's for ada's browser would make ada act in eve's name."""
    eve, ada = place.visitor("eve", READ), place.visitor("ada", READ)
    begun = await eve.client.get(f"{PREFIX}live")
    place.hub.visitor = eve.token
    sent = await eve.client.get(f"{place.hub.url}{begun.headers['Location']}")
    back = sent.headers["Location"]
    answer = await ada.client.get(back)
    assert answer.status_code == 403 and "service-hpcsec" not in ada.client.cookies
    assert (await eve.client.get(back)).headers["Location"].endswith("live")


@pytest.mark.parametrize("target", ["//evil.example/x", "http://evil.example/services/hpcsec/live", "/\\evil.example"])
async def test_no_login_leads_to_another_host(place: Place, target: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403 ") and b"ocation:" not in answer and b"et-Cookie:" not in answer


async def test_logins_that_strangers_begin_do_not_fill_the_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LOGINS", 5)
    ada = place.visitor("ada", READ)
    for number in range(20):
        answer = await place.get(f"live?user={number}{'x' * 10_000}")
        assert answer.status_code == 302
    states = place.door.auth._oauth_states
    assert len(states) == 5 and {state["next_url"] for state in states.values.values()} == {PREFIX}
    answer = await ada.get("live?user=x")
    assert answer.status_code == 200 and answer.request.url.query == b"user=x"


# Tokens


async def test_a_revoked_token_is_refused_and_sent_to_the_login(place: Place) -> None:
    ada = place.visitor("ada", READ)
    await ada.get("live")
    del place.hub.people[ada.token]
    place.forget()
    answer = await ada.client.get(f"{PREFIX}live")
    assert answer.status_code == 302 and answer.headers["Location"].startswith("/hub/api/oauth2/authorize?")
    assert await place.events("console.refused", lambda event: event["rule"] == "console.stale-token")
    posted = await ada.post("live/end/" + "0" * 32, {"reason": "x"})
    assert posted.status_code == 403


async def test_the_hubs_word_is_believed_for_a_while_only_by_what_reads(place: Place) -> None:
    token = place.hub.person("ada", READ, END)
    asked = place.hub.asked
    for _ in range(3):
        await place.get("live", Authorization=f"token {token}")
    assert place.hub.asked == asked + 1
    place.hub.people[token]["scopes"] = []
    answer = await place.get("live/end/" + "0" * 32, "POST", Authorization=f"token {token}")
    assert answer.status_code == 403
    assert (await place.get("live", Authorization=f"token {token}")).status_code == 403  # the new word is everybody's


def test_the_hubs_word_is_never_believed_for_long() -> None:
    from traitlets import TraitError

    from jupyter_hpcsec.config_console import HpcsecConsole

    with pytest.raises(TraitError):
        HpcsecConsole(cache_s=61)


@pytest.mark.parametrize(
    ("facts", "rule"),
    [({"kind": "service"}, "console.not-a-person"), ({"access": False}, "console.access")],
)
async def test_tokens_that_are_not_for_this(place: Place, facts: dict[str, str], rule: str) -> None:
    token = place.hub.person("ada", READ, **facts)
    assert (await place.get("live", Authorization=f"token {token}")).status_code == 403
    assert await place.events("console.refused", lambda event: event["rule"] == rule)


async def test_headers_that_are_no_token(place: Place) -> None:
    for header in ("token", "Basic YTpi", "token a b", "token " + "a" * 300, "tokenx abc"):
        answer = await place.get("live", Authorization=header)
        assert answer.status_code == 403 and place.hub.asked == 0, header


async def test_a_token_in_the_address_is_not_taken(place: Place) -> None:
    token = place.hub.person("ada", READ)
    for headers in ({}, {"Sec-Fetch-Mode": "websocket"}):
        answer = await place.get(f"live?token={token}", **headers)
        assert answer.status_code in (302, 403)
    assert place.hub.asked == 0


async def test_where_the_hub_does_not_answer_nobody_reads(place: Place) -> None:
    ada = place.visitor("ada", READ)
    await ada.get("live")
    place.hub.is_down = True
    place.forget()
    answer = await ada.client.get(f"{PREFIX}live")
    assert answer.status_code == 503 and "again" in answer.text


# Around


async def test_hosts_that_are_none(place: Place) -> None:
    token = place.hub.person("ada", READ)
    for host in ("", "evil.example/x", "a b", "x" * 300, "evil.example@hub", "[::1", "hub:port"):
        answer = await place.get("live", Host=host, Authorization=f"token {token}")
        assert answer.status_code in (400, 403), host


async def test_a_page_in_a_frame_and_scripts_of_others_are_forbidden(place: Place) -> None:
    ada = place.visitor("ada", READ)
    for path in ("live", "no-such-page", "live?order=x", "static/console.css"):
        answer = await ada.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "<script>" not in answer.text and "style=" not in answer.text


@pytest.mark.parametrize(
    "fetched",
    [
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "same-origin"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "cors", "X-XSRFToken": "2|made|up|1"},
    ],
)
async def test_scripts_of_other_pages_of_this_host_read_nothing(place: Place, fetched: dict[str, str]) -> None:
    """A user's own server is such a page, and the hub's visitors follow links to it."""
    ada = place.visitor("ada", READ)
    token = XSRF.search((await ada.get("live")).text)
    for path in ("live", "live/rows", "search?user=alice", "me", "projects", "event/0"):
        answer = await ada.get(path, **{"Sec-Fetch-Site": "same-origin", **fetched})
        assert answer.status_code == 403 and not XSRF.search(answer.text), path
    refused = await place.events("console.refused", lambda event: event["rule"] == "console.xsrf", 6)
    assert {event["subject"]["user"] for event in refused} == {"ada"} and token
    answer = await ada.get("live/rows", **fetched | {"X-XSRFToken": token[1]})
    assert answer.status_code == 200


async def test_the_source_is_the_browsers_by_the_proxys_word(place: Place) -> None:
    await place.get("live", **{"X-Forwarded-For": "203.0.113.9"})
    [refused] = await place.events("console.refused")
    assert refused["source"] == "203.0.113.9"


async def test_many_at_once(place: Place) -> None:
    await place.register("alice")
    token = place.hub.person("ada", READ)
    answers = await asyncio.gather(*(place.get("live", Authorization=f"token {token}") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


def test_own_records_need_no_scope() -> None:
    from jupyter_hpcsec.console.identity import Reader

    assert Reader("bob", frozenset()).may(SELF) and not Reader("bob", frozenset()).may(READ)
