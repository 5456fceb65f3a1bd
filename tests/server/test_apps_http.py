"""What an app sees of a request and may say in its answer, in a real jupyter_server and a network of its own."""

import json
from pathlib import Path

import httpx
import pytest

from tests.server.appclient import APPS, COOKIE, OTHERS, OWNER, SITE, client, exchange
from tests.server.appsession import SECRET
from tests.server.toyapps import APP, ONLY_V6, RAW


async def test_an_app_sees_nothing_that_vouches_for_its_owner(session: Path) -> None:
    headers = {
        "Authorization": f"token {SECRET}:alice", "X-XSRFToken": "2|x", "X-CSRFToken": "2|x",
        "Proxy-Authorization": "p",
        "X-Forwarded-Access-Token": "at", "X-Auth-Request-Email": "e", "OIDC_access_token": "o", "OIDC-Claim": "c",
        "X-Forwarded-For": "10.1.2.3", "Forwarded": "for=1", "X-Real-IP": "10.1.2.3", "Remote-User": "alice",
        "X_Forwarded_Host": "evil", "Cookie2": "x", "Connection": "keep-alive, X-Own", "X-Own": "1", "TE": "trailers",
        "Referer": f"http://{SITE}{APPS}{APP}/page?token=abc&x=1", "Origin": f"http://{SITE}",
    }  # fmt: skip
    async with client(session, f"{COOKIE}; {OTHERS}", **headers) as browser:
        seen = (
            await browser.get(f"{APP}/a/../%2e%2e/b%2Fc?q=%20&token=abc&%74oken=abc&_xsrf=2|x&Token=mine&&z")
        ).json()
    text = json.dumps(seen)
    for secret in (SECRET, "2|x", "sso", "s1", "u1", "abc", "10.1.2.3", "keep-alive", "trailers", "evil"):
        assert secret not in text
    assert seen["uri"].endswith("?q=%20&Token=mine&&z")
    assert seen["headers"] == {
        "host": [f"localhost:{APP}"], "origin": [f"http://localhost:{APP}"], "connection": ["close"],
        "referer": [f"http://localhost:{APP}/page?x=1"],
        "x-forwarded-host": [SITE], "x-forwarded-proto": ["http"],
        **{name: [f"{APPS}{APP}"] for name in ("x-forwarded-prefix", "x-forwarded-context", "x-proxycontextpath")},
        **{name: [browser.headers[name]] for name in (
            "accept", "accept-encoding", "user-agent", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")},
    }  # fmt: skip


async def test_the_path_passes_byte_for_byte(session: Path) -> None:
    path = "/a%2Fb/%2e%2e/c;d=1//e%20f/%C3%A9'()*!$&,@:"
    head = f"Host: {SITE}\nCookie: {COOKIE}\nConnection: close\n\n"
    answer = await exchange(session, f"GET {APPS}{APP}{path}?x=%26&y HTTP/1.1\n{head}")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["uri"] == f"{path}?x=%26&y"
    answer = await exchange(session, f"GET {APPS}absolute/{APP}{path} HTTP/1.1\n{head}")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert seen["uri"] == f"{APPS}absolute/{APP}{path}"
    assert "x-forwarded-prefix" not in seen["headers"], "such an app knows where it is"


async def test_the_host_that_was_asked_for_changes_nothing(alice: httpx.AsyncClient) -> None:
    seen = (await alice.get(f"{APP}/", headers={"Host": "evil.example"})).json()
    assert seen["headers"]["host"] == [f"localhost:{APP}"]


async def test_an_app_gets_back_the_cookies_that_it_set_and_no_others(session: Path) -> None:
    sets = ["own=1; Path=/sub; HttpOnly; Domain=example", "jupyterhub-user-alice=x", "_xsrf=x",
            "__Host-a=1; Path=/; Secure", "username-hub=x", "_oauth2_proxy=mine", "two=2"]  # fmt: skip
    async with client(session, f"{COOKIE}; {OTHERS}; own=1; two=2") as browser:
        assert "cookie" not in (await browser.get(f"{APP}/", headers={})).json()["headers"], "not yet its own"
        answer = await browser.post(f"{APP}/headers", json=[["Set-Cookie", value] for value in sets])
        assert answer.headers.get_list("Set-Cookie") == [
            f"own=1; HttpOnly; Path={APPS}{APP}/sub",
            f"_oauth2_proxy=mine; Path={APPS}{APP}/",
            f"two=2; Path={APPS}{APP}/",
        ]
        assert (await browser.get(f"{APP}/")).json()["headers"]["cookie"] == ["own=1; two=2"], "not the other's value"
        assert "cookie" not in (await browser.get(f"{ONLY_V6}/")).json()["headers"], "another app's"


async def test_an_app_speaks_for_itself_only(alice: httpx.AsyncClient) -> None:
    taken = [
        "Service-Worker-Allowed", "Clear-Site-Data", "Strict-Transport-Security", "Access-Control-Allow-Origin",
        "Access-Control-Allow-Credentials", "Alt-Svc", "NEL", "Report-To", "Reporting-Endpoints", "WWW-Authenticate",
        "X-Accel-Redirect", "X-Accel-Buffering", "X-Sendfile", "Use-As-Dictionary", "Set-Login", "Upgrade",
        "Keep-Alive", "Proxy-Authenticate", "Trailer", "X_Under",
    ]  # fmt: skip
    kept = [["Content-Type", "text/x-own"], ["Content-Security-Policy", "default-src 'self'"], ["X-Own", "1"],
            ["X-Own", "2"], ["Content-Encoding", "identity"], ["Cache-Control", "max-age=5"]]  # fmt: skip
    answer = await alice.post(f"{APP}/headers", json=[*([name, "x"] for name in taken), *kept])
    assert answer.text == "answer"
    came = {name.lower(): answer.headers.get_list(name) for name in answer.headers}
    assert came.pop("content-security-policy")[0] == "default-src 'self'"
    assert came == {
        "content-type": ["text/x-own"], "x-own": ["1", "2"], "content-encoding": ["identity"],
        "cache-control": ["max-age=5"], "content-length": ["6"],
        "date": came["date"], "server": came["server"],
    } | ({"etag": came["etag"]} if "etag" in came else {})  # fmt: skip
    assert "frame-ancestors 'self'" in answer.headers.get_list("Content-Security-Policy")[1]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/b?c=1#d", f"{APPS}{APP}/b?c=1#d"),
        ("b", "b"),
        (f"http://localhost:{APP}/b", f"{APPS}{APP}/b"),
        (f"http://127.0.0.1:{APP}", f"{APPS}{APP}/"),
        (f"http://{SITE}/hub/logout", f"{APPS}{APP}/hub/logout"),
        (f"{APPS}{APP}/b", f"{APPS}{APP}/b"),
        (f"//localhost:{APP}//evil.example/", f"{APPS}{APP}//evil.example/"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"http://localhost:{RAW}/b", f"http://localhost:{RAW}/b"),
    ],
)
async def test_redirects_stay_with_the_app(alice: httpx.AsyncClient, said: str, shown: str) -> None:
    answer = await alice.post(f"{APP}/headers?status=302", json=[["Location", said]])
    assert (answer.status_code, answer.headers["Location"]) == (302, shown)


async def test_an_app_that_knows_its_place_redirects_by_itself(alice: httpx.AsyncClient) -> None:
    place = f"{APPS}absolute/{APP}"
    for said, shown in (
        (f"{place}/b", f"{place}/b"),
        (f"http://localhost:{APP}{place}/b", f"{place}/b"),
        ("//x/b", "//x/b"),
    ):
        answer = await alice.post(f"absolute/{APP}/headers?status=302", json=[["Location", said]])
        assert answer.headers["Location"] == shown


@pytest.mark.parametrize("status", [204, 304, 404, 500])
async def test_statuses_pass(alice: httpx.AsyncClient, status: int) -> None:
    answer = await alice.post(f"{APP}/headers?status={status}", json=[["X-Own", "1"]])
    assert (answer.status_code, answer.headers["X-Own"]) == (status, "1")


async def test_head_has_the_length_and_no_body(alice: httpx.AsyncClient) -> None:
    answer = await alice.head(f"{APP}/")
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "12345", b"")


@pytest.mark.parametrize(
    "path", ["garbage", "nothing", "control", "two-lengths", "length-and-chunks", "switch", "status"]
)
async def test_what_is_no_answer_is_an_error(alice: httpx.AsyncClient, path: str) -> None:
    try:
        answer = await alice.get(f"{RAW}/{path}")
    except httpx.RemoteProtocolError:
        assert path in {"two-lengths", "length-and-chunks"}, "the head came, and then something that has no meaning"
        return
    assert answer.status_code == 502
    assert "without an answer" in answer.text


@pytest.mark.parametrize("path", ["truncated", "chunks-cut"])
async def test_an_answer_that_is_cut_does_not_look_whole(alice: httpx.AsyncClient, path: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await alice.get(f"{RAW}/{path}")


async def test_old_and_odd_answers_pass(alice: httpx.AsyncClient) -> None:
    assert (await alice.get(f"{RAW}/until-close")).text == "old"
    assert (await alice.get(f"{RAW}/interim")).text == "ok"
    answer = await alice.get(f"{RAW}/underscore")
    assert answer.text == "ok"
    assert "x_under" not in answer.headers


async def test_an_app_may_refuse_a_body_before_it_has_it_all(session: Path) -> None:
    head = f"POST {APPS}{RAW}/early HTTP/1.1\n{OWNER}Content-Length: 999999999\n\n"
    answer = await exchange(session, head, b"x" * 100)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nbig")
