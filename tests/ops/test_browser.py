"""The browser without a window: errors become sentences, tokens go where their cookie belongs, forms are filled in."""

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.ops.browser import EVENT_LIMIT, Browser, spawn_form

Handler = Callable[[httpx.Request], httpx.Response]
URL = "http://127.0.0.1:8000"


def browser(handler: Handler) -> Browser:
    return Browser(URL, httpx.MockTransport(handler))


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (httpx.Response(403, json={"message": "XSRF cookie does not match"}), "XSRF cookie does not match"),
        (
            httpx.Response(500, html="<div class='error'><h1>500</h1><p>Your job\n failed.</p></div>no"),
            "500 Your job failed.",
        ),
        (httpx.Response(404, json=["no message"]), "Not Found"),
        (httpx.Response(503, text=""), "Service Unavailable"),
    ],
)
async def test_an_error_page_is_refused_with_its_sentence(response: httpx.Response, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        await browser(lambda _: response).page("/hub/home")
    assert refused.value.rule == f"http.{response.status_code}" and refused.value.reason.endswith(f": {sentence}")


async def test_no_answer_is_unavailable() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    one = browser(fail)
    with pytest.raises(Unavailable, match="ConnectError"):
        await one.page("/")
    with pytest.raises(Unavailable):
        _ = [chunk async for chunk in one.chunks("/files/x")]
    with pytest.raises(Unavailable):
        _ = [event async for event in one.events("/progress")]


@pytest.mark.parametrize("line", ["data: not json", "data: [1]", "data:", "data: " + "x" * EVENT_LIMIT])
async def test_a_malformed_event_is_an_error(line: str) -> None:
    with pytest.raises(Malformed):
        _ = [event async for event in browser(lambda _: httpx.Response(200, text=line + "\n\n")).events("/p")]


def spawning(*events: str, page: str = "/hub/spawn-pending/ada") -> Browser:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/hub/spawn":
            return httpx.Response(302, headers={"Location": page})
        if request.url.path.endswith("/progress"):
            return httpx.Response(200, text="".join(f"data: {event}\n\n" for event in events))
        return httpx.Response(200, text="")

    return browser(answer)


@pytest.mark.parametrize(
    ("events", "kind", "reason"),
    [
        (['{"message": "queued"}', '{"failed": true, "message": "Out of memory."}'], Refused, "Out of memory"),
        (['{"message": "queued"}'], Unavailable, "before the server was ready"),
        ([], Unavailable, "before the server was ready"),
    ],
)
async def test_a_start_that_fails_tells_why(events: list[str], kind: type[HpcsecError], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        _ = [message async for message in spawning(*events).spawn("ada")]


async def test_progress_is_followed_until_ready() -> None:
    one = spawning('{"message": "queued"}', '{"ready": true, "message": "ready"}', '{"message": "late"}')
    assert [message async for message in one.spawn("ada")] == ["queued", "ready"]


async def test_a_server_that_runs_already_needs_no_progress() -> None:
    assert [message async for message in spawning(page="/user/ada/lab").spawn("ada")] == []


async def test_scripts_send_the_token_of_their_path_and_pages_none() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/login":
            cookies = [("Set-Cookie", "_xsrf=hub; Path=/hub/"), ("Set-Cookie", "_xsrf=ada; Path=/user/ada/")]
            return httpx.Response(200, headers=cookies)
        return httpx.Response(200, json={})

    one = browser(answer)
    assert one.xsrf("/hub/api") == ""
    await one.page("/login")
    for path in ("/hub/api/user", "/user/ada/api/kernels", "/user/adam/api"):
        await one.fetch("GET", path)
    tokens = [request.headers.get("X-XSRFToken") for request in seen]
    assert tokens == [None, "hub", "ada", ""]
    assert {request.headers.get("Origin") for request in seen[1:]} == {URL}
    assert [request.headers["Sec-Fetch-Mode"] for request in seen] == ["navigate", "cors", "cors", "cors"]


FORM = """
<form action="/logout" method="get"><input name="q" value="x"></form>
<form id="spawn_form" method="post" action="/hub/spawn/ada?_xsrf=1">
 <input type="hidden" name="_xsrf" value="t&amp;1">
 <input type="radio" name="profile" value="big"><input type="radio" name="profile" value="small" checked>
 <select name="partition"><option value="main">Main<option value="gpu" selected>GPU</select>
 <select name="hours"><option value="1">1<option value="2">2</select>
 <input type="checkbox" name="exclusive" value="yes"><input type="number" name="cpus" value="4">
 <input type="submit" name="go" value="Start">
</form><input name="outside" value="1">
"""


def test_a_form_is_filled_in_as_it_stands() -> None:
    found = spawn_form(FORM)
    fields = {"_xsrf": "t&1", "profile": "small", "partition": "gpu", "hours": "1", "cpus": "4"}
    assert found == ("/hub/spawn/ada?_xsrf=1", fields)


def test_a_page_without_a_form_has_none() -> None:
    assert spawn_form("<p>pending</p><form method=get></form>") is None


@given(st.text())
def test_any_page_can_be_read(page: str) -> None:
    spawn_form(page)


async def test_a_form_is_sent() -> None:
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(request.content)
            return httpx.Response(302, headers={"Location": "/user/ada/lab"})
        return httpx.Response(200, text=FORM if request.url.path == "/hub/spawn" else "")

    assert [message async for message in browser(answer).spawn("ada")] == []
    assert b"partition=gpu" in sent[0] and b"_xsrf=t%261" in sent[0]
