"""Who reaches the apps of a session, from which pages, and at which ports; everybody else reaches nothing."""

from pathlib import Path

import httpx
import pytest

from tests.server.appclient import APPS, COOKIE, SITE, client, exchange
from tests.server.appsession import SECRET
from tests.server.toyapps import APP, EMPTY, ONLY_V6, RAW


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("cookie", ["", "jupyterhub-user-alice=wrong:alice"], ids=["none", "wrong"])
async def test_who_is_not_known_reaches_no_app(session: Path, method: str, cookie: str) -> None:
    async with client(session, cookie) as stranger:
        answer = await stranger.request(method, f"{APP}/x")
    assert answer.status_code == (302 if method in {"GET", "HEAD"} else 403)
    assert answer.headers.get("Location", "/login").partition("?")[0].endswith("/login")
    assert "uri" not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("who", ["mallory", "Alice", "service/alice"])
async def test_another_user_whom_the_server_knows_reaches_no_app(session: Path, method: str, who: str) -> None:
    async with client(session, f"jupyterhub-user-alice={SECRET}:{who}") as mallory:
        for path in (f"{APP}/x", f"absolute/{APP}/x"):
            answer = await mallory.request(method, path, content=b"a" if method == "POST" else None)
            assert answer.status_code == 403
        assert method == "HEAD" or "for alice alone" in answer.text


async def test_another_user_sees_no_list(session: Path) -> None:
    async with client(session, f"jupyterhub-user-alice={SECRET}:mallory") as mallory:
        assert (await mallory.get("")).status_code == 403


async def test_the_authorizer_is_asked(alice: httpx.AsyncClient) -> None:
    answer = await alice.post(f"{APP}/not-authorized")
    assert answer.status_code == 403
    assert "not authorized" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{SITE}.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
async def test_a_request_from_another_sites_page_is_refused(
    session: Path, method: str, headers: dict[str, str]
) -> None:
    async with client(session, COOKIE, **headers) as browser:
        answer = await browser.request(method, f"{APP}/x")
    # who is not even let in as a user is sent away as a stranger
    assert answer.status_code == 403
    assert "uri" not in answer.text


async def test_a_link_on_another_site_leads_to_an_app_but_posts_nothing(session: Path) -> None:
    navigating = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with client(session, COOKIE, **navigating) as browser:
        assert (await browser.post(f"{APP}/x")).status_code == 403
        assert (await browser.get(f"{APP}/x")).status_code == 200


async def test_a_change_without_any_word_of_its_origin_needs_a_token(session: Path) -> None:
    head = f"POST {APPS}{APP}/x HTTP/1.1\nHost: {SITE}\nContent-Length: 0\nConnection: close\n"
    assert b" 403 " in (await exchange(session, f"{head}Cookie: {COOKIE}\n\n")).split(b"\r\n")[0]
    assert b" 200 " in (await exchange(session, f"{head}Authorization: token {SECRET}:alice\n\n")).split(b"\r\n")[0]
    assert b" 403 " in (await exchange(session, f"{head}Authorization: token {SECRET}:mallory\n\n")).split(b"\r\n")[0]


async def test_no_service_worker_is_installed(alice: httpx.AsyncClient) -> None:
    answer = await alice.get(f"{APP}/sw.js", headers={"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "0/", "1/", "80/", "1023/", "65536/", "70000/", "-1/", f"0{APP}/", f"+{APP}/", f"%32{str(APP)[1:]}/",
        f"{APP}@host/", f"{APP}:80/", f"localhost:{APP}/", f"evil.example:{APP}/", f"[::1]:{APP}/", "abc/",
        f"{APP}%2F..%2F/",
        "absolute/0/", f"absolute/absolute/{APP}/", f"{APP};x/", "٢٠٠٠١/", f"{APP}%00/", f"{APP}%0d%0a/", "absolute/",
        f"{APP}\\@host/",
    ],
)  # fmt: skip
async def test_what_is_not_a_port_is_none(alice: httpx.AsyncClient, path: str) -> None:
    answer = await alice.get(f"http://{SITE}{APPS}{path}")
    assert answer.status_code == 404
    assert "from 1024 to 65535" in answer.text


@pytest.mark.parametrize("path", [f"{APP}/a b", f"{APP}/\x7f", f"{APP}/\xe9"])
async def test_a_path_that_no_browser_sends_reaches_no_app(session: Path, path: str) -> None:
    answer = await exchange(
        session, f"GET {APPS}{path} HTTP/1.1\nHost: {SITE}\nCookie: {COOKIE}\nConnection: close\n\n"
    )
    assert answer.split(b"\r\n")[0].split()[1] in {b"400", b"404"}
    assert b'"uri"' not in answer


async def test_nothing_listens_yet_and_the_page_looks_again(alice: httpx.AsyncClient) -> None:
    answer = await alice.get(f"{EMPTY}/")
    assert answer.status_code == 502
    assert f"Nothing listens on port {EMPTY} yet." in answer.text
    assert 'http-equiv="refresh"' in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_list_names_what_listens(alice: httpx.AsyncClient) -> None:
    page = (await alice.get("")).text
    assert [f'href="{port}/"' in page for port in (APP, ONLY_V6, RAW, EMPTY)] == [True, True, True, False]


async def test_an_app_on_ipv6_alone_is_reached(alice: httpx.AsyncClient) -> None:
    assert (await alice.get(f"{ONLY_V6}/x")).json()["uri"] == "/x"


async def test_a_missing_slash_is_added_without_the_token(alice: httpx.AsyncClient) -> None:
    answer = await alice.get(f"{APP}?a=1&token=t&b=2")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{APPS}{APP}/?a=1&b=2")
