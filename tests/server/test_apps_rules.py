"""The pure rules of the app proxy: addresses, origins, cookies, headers, redirects, and what /proc says."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.server.apps import ports
from jupyter_hpcsec.server.apps.address import Address, link, parse_address
from jupyter_hpcsec.server.apps.cookies import COOKIE_LIMIT, REMEMBERED, CookieJar
from jupyter_hpcsec.server.apps.headers import location, request_headers, response_headers, without_secrets
from jupyter_hpcsec.server.apps.origin import is_from_here
from jupyter_hpcsec.server.apps.pages import index_page, refusal_page

BASE = "/user/al%40ice/lab/"
AT = Address(port=8787, absolute=False, prefix=f"{BASE}hpcsec/app/8787", path="/x")
HERE = {"Host": "hub.example:8443"}
WORD = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)

# addresses


@pytest.mark.parametrize(
    "path", ["", "/", "/user/al@ice/lab/hpcsec/app/8787/", f"{BASE}hpcsec/apps/8787/", f"{BASE}hpcsec/app/"]
)
def test_what_is_not_below_the_mount_is_no_address(path: str) -> None:
    with pytest.raises(Refused):
        parse_address(path, BASE)


@given(WORD)
def test_an_address_has_a_port_that_may_be_asked_and_gives_its_path_back(text: str) -> None:
    path = f"{BASE}hpcsec/app/{text}"
    try:
        address = parse_address(path, BASE)
    except Refused:
        return
    assert 1024 <= address.port <= 65535
    assert address.prefix + address.path == path


@pytest.mark.parametrize("port", [1024, 65535])
def test_ports_from_end_to_end(port: int) -> None:
    assert parse_address(f"{link(BASE, port)}a%2Fb", BASE) == Address(
        port=port, absolute=False, prefix=f"{BASE}hpcsec/app/{port}", path="/a%2Fb"
    )


# origins


@pytest.mark.parametrize(
    ("headers", "reads", "changes", "websocket"),
    [
        ({}, True, False, False),
        ({"Origin": "https://hub.example:8443"}, True, True, True),
        ({"Origin": "https://HUB.example:8443"}, True, True, True),
        ({"Origin": "https://hub.example"}, False, False, False),
        ({"Origin": "https://hub.example:8443.evil"}, False, False, False),
        ({"Origin": "https://evil@hub.example:8443"}, False, False, False),
        ({"Origin": "file://hub.example:8443"}, False, False, False),
        ({"Origin": "https://[bad"}, False, False, False),
        ({"Origin": ""}, False, False, False),
        ({"Origin": "null"}, False, False, False),
        ({"Sec-Fetch-Site": "same-origin"}, True, True, True),
        ({"Sec-Fetch-Site": "same-site"}, False, False, False),
        ({"Sec-Fetch-Site": "none"}, True, False, False),
        ({"Sec-Fetch-Site": "new-word"}, False, False, False),
        (
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
            True,
            False,
            False,
        ),
        (
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "embed"},
            False,
            False,
            False,
        ),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://hub.example:8443"}, False, False, False),
        ({"Referer": "https://hub.example:8443/user/x"}, True, True, False),
        ({"Referer": "https://evil.example/?hub.example:8443"}, True, False, False),
    ],
)
def test_who_sends_a_request(headers: dict[str, str], reads: bool, changes: bool, websocket: bool) -> None:
    assert is_from_here(HERE | headers, "GET") is reads
    assert is_from_here(HERE | headers, "DELETE") is changes
    assert is_from_here(HERE | headers, "GET", websocket=True) is websocket


# cookies


@pytest.mark.parametrize(
    "cookie",
    [
        "", "a", "=v", "a b=1", "a=1\x00", "a=\x1f", "JupyterHub-x=1", "jupyterhub-session-id=1", "_xsrf=1",
        "Username-x=1",
        "__Host-x=1", "__HOST-x=1", "__Http-x=1", "__Host-Http-x=1", "a=" + "x" * COOKIE_LIMIT, "a=é",
    ],
)  # fmt: skip
def test_cookies_that_are_not_set(cookie: str) -> None:
    assert CookieJar().confine(8787, cookie, AT.prefix, absolute=False) is None


@pytest.mark.parametrize(
    ("cookie", "absolute", "path"),
    [
        ("a=1", False, "/"),
        ("a=1; Path=/", False, "/"),
        ("a=1; path=/b/c", False, "/b/c"),
        (f"a=1; Path={AT.prefix}/b", False, "/b"),
        (f"a=1; Path={AT.prefix}/b", True, "/b"),
        ("a=1; Path=/hub/", True, "/"),
        (f"a=1; Path={AT.prefix}0/", True, "/"),
        ("a=1; Path=b", False, "/"),
        ("a=1; Path=/x; Path=/y", False, "/y"),
        ("a=1; Path=/x\x01", False, "/"),
        ("a=1; Domain=.example; Path=/..", False, "/.."),
    ],
)
def test_a_cookie_stays_within_its_app(cookie: str, absolute: bool, path: str) -> None:
    assert CookieJar().confine(8787, cookie, AT.prefix, absolute=absolute) == f"a=1; Path={AT.prefix}{path}"


def test_attributes_that_concern_the_cookie_alone_are_kept() -> None:
    kept = "a=b c; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Max-Age=5; Secure; HttpOnly; SameSite=Lax"
    assert CookieJar().confine(1, f"{kept}; Partitioned; Priority=High", "/p", absolute=False) == f"{kept}; Path=/p/"


def test_only_the_latest_pairs_are_remembered_and_only_for_their_app() -> None:
    jar = CookieJar()
    for i in range(REMEMBERED + 1):
        jar.confine(8787, f"a={i}", "/p", absolute=False)
    assert jar.passing(8787, "a=0; a=1;a=256; b=1") == "a=1; a=256"
    assert jar.passing(8788, "a=1") == ""


@given(st.lists(WORD, max_size=4), WORD)
def test_no_pair_passes_that_was_not_set(pairs: list[str], header: str) -> None:
    jar = CookieJar()
    confined = [jar.confine(1, pair, "/p", absolute=False) for pair in pairs]
    given_back = {tuple(cookie.split(";")[0].split("=", 1)) for cookie in confined if cookie is not None}
    passed = jar.passing(1, "; ".join([header, *pairs]))
    assert {tuple(pair.replace(" =", "=").split("=", 1)) for pair in passed.split("; ") if pair} <= given_back


# headers


@given(st.lists(st.tuples(WORD, WORD), max_size=6))
def test_headers_of_any_kind_end_in_ones_that_can_be_sent(pairs: list[tuple[str, str]]) -> None:
    came = HTTPHeaders(HERE)
    for name, value in pairs:
        try:
            came.add(name, value)
        except Exception:  # noqa: BLE001 - what tornado itself does not take in never comes this far
            return
    for sent in (
        request_headers(came, AT, CookieJar(), scheme="https"),
        response_headers(came, AT, CookieJar(), host="hub.example"),
    ):
        for name, value in sent.get_all():
            assert name.isascii()
            assert "_" not in name
            assert value.replace("\t", "").isprintable() or not value.isascii()


def test_a_token_of_the_apps_own_passes_and_jupyters_does_not() -> None:
    came = HTTPHeaders(HERE | {"X-CSRFToken": "mine", "Cookie": "a=1; _xsrf=2|x"})
    assert request_headers(came, AT, CookieJar(), scheme="http")["X-CSRFToken"] == "mine"
    came["X-CSRFToken"] = "2|x"
    assert "X-CSRFToken" not in request_headers(came, AT, CookieJar(), scheme="http")


@pytest.mark.parametrize(
    "referer",
    ["https://elsewhere.example/a", "https://hub.example:8443/user/al%40ice/lab/tree", "x", "https://[", "\x01"],
)
def test_pages_outside_the_app_are_not_named_to_it(referer: str) -> None:
    assert "Referer" not in request_headers(HTTPHeaders(HERE | {"Referer": referer}), AT, CookieJar(), scheme="http")


@given(WORD)
def test_a_query_loses_the_token_however_it_is_written(text: str) -> None:
    assert "abc" not in without_secrets(
        f"token=abc&%74oken=abc&tok%65n=abc&_xsr%66=abc&{text.replace('abc', '')}&token=abc"
    )


@given(WORD)
def test_a_redirect_to_a_path_never_leads_to_another_host(text: str) -> None:
    for target in (f"/{text}", f"http://localhost:8787{text}"):
        if target.startswith("//") or not location(target, AT, host="hub.example"):
            continue
        shown = location(target, AT, host="hub.example")
        if shown != target:
            assert shown.startswith("/")
            assert not urlsplit(shown).netloc


# pages and /proc


def test_pages_hold_no_markup_of_others() -> None:
    assert "<script>" not in refusal_page(403, "<script>")
    assert "refresh" not in refusal_page(403, "x")
    assert "Nothing listens" in index_page([])


def test_only_routes_by_the_loopback_are_private() -> None:
    loopback = f"{'0' * 32} 80 {'0' * 32} 00 {'0' * 32} 00000000 00000002 00000000 80200001       lo"
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
    assert ports.ways_out([head], [loopback, ""]) == set()
    assert ports.ways_out([], []) == set()
    assert ports.ways_out([head, "eth0\t00000000\t0100000A"], []) == {"eth0"}
    assert ports.ways_out([], [loopback.replace("lo", "eth0")]) == {"eth0"}


def test_this_computers_own_network_is_not_private_or_has_no_way_out() -> None:
    out = ports.ways_out(ports.read("route"), ports.read("ipv6_route"))
    assert "lo" not in out


def test_listening_ports_are_those_that_the_loopback_reaches() -> None:
    lines = [
        "  sl  local_address rem_address   st tx_queue",
        "   0: 0100007F:2253 00000000:0000 0A 0",
        "   1: 00000000:0FA0 00000000:0000 0A 0",
        "   2: 0100007F:2254 0100007F:9999 01 0",
        "   3: 0A00000A:2255 00000000:0000 0A 0",
        "   4: 0100007F:0050 00000000:0000 0A 0",
    ]
    assert ports.listening(lines, [f"   0: {'0' * 24}01000000:1F90 {'0' * 32}:0000 0A 0", ""]) == [4000, 8080, 8787]


def test_a_network_that_can_not_be_seen_is_not_taken_for_private(tmp_path: Path) -> None:
    assert ports.read("ipv6_route", tmp_path) == [], "a kernel without IPv6"
    with pytest.raises(Unavailable):
        ports.read("route", tmp_path / "none")
    (tmp_path / "route").mkdir()
    with pytest.raises(Unavailable):
        ports.read("route", tmp_path)
