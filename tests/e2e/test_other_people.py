"""Bob has a server and a token of his own and wants alice's. He speaks raw HTTP, so that no client tidies it."""

import asyncio
import base64
import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from tests.e2e.onnode import at_node
from tests.e2e.person import Kernel, Person
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

MARK = "alices-secret-" + secrets.token_hex(8)
FILE = "e2e-secret.txt"
CONTENTS = f"/user/alice/api/contents/{FILE}"
Headers = Mapping[str, str]


async def raw(site: Site, target: str, headers: Headers, method: str = "GET") -> tuple[int, str]:
    """Status and everything else of one answer; the target goes out byte by byte as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        lines = [f"{method} {target} HTTP/1.1"]
        names = {name.lower() for name in headers}
        if "host" not in names:
            lines.append(f"Host: 127.0.0.1:{site.port}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join([*lines, "Connection: close", "", ""])).encode("utf-8"))
        async with asyncio.timeout(30):
            answer = (await reader.read()).decode(errors="replace")
    finally:
        writer.close()
    found = re.match(r"HTTP/1\.[01] (\d{3}) ", answer)
    return (int(found[1]) if found else 0), answer


def cookies(person: Person, path: str = "") -> dict[str, str]:
    """The browser's cookies by name; those of ``path`` win."""
    jar = sorted(person.browser.http.cookies.jar, key=lambda cookie: cookie.path == path)
    return {cookie.name: cookie.value or "" for cookie in jar}


def as_header(values: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in values.items())


async def servers_environment(person: Person) -> dict[str, str]:
    """The environment of a person's server, read by root: the person's own kernels can't, which is shown first."""
    kernel = await person.kernel()
    told = await kernel.run(
        "import os, pathlib\nfor pid in filter(str.isdecimal, os.listdir('/proc')):\n"
        "  try: print(pathlib.Path('/proc', pid, 'environ').read_text())\n  except OSError: pass"
    )
    kernel.close()
    assert "JUPYTERHUB_API_TOKEN" not in told
    mark = f"JUPYTERHUB_USER={person.name}"
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, NotADirectoryError):
            words = (entry / "environ").read_text().split("\0") if entry.name.isdecimal() else []
            found = dict(word.split("=", 1) for word in words if "=" in word)
            if mark in words and "JUPYTERHUB_API_TOKEN" in found:
                return found
    raise AssertionError("the server has no token of its own, so that this test would prove nothing")


BY_THE_TUNNEL = """
import http.client, json, socket, sys
asked = json.load(sys.stdin)
def ask(method, path):
    connection = http.client.HTTPConnection("hub")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(asked["socket"])
    headers = {"Authorization": "token " + asked["token"]}
    connection.request(method, path, b"" if method == "POST" else None, headers)
    return connection.getresponse().status
tried = [("POST", "/hub/api/batchspawner"), ("GET", "/hub/api/users"), ("GET", "/hub/api/user")]
print(json.dumps([ask(*one) for one in tried]))
"""


@pytest.fixture(scope="module")
def secret() -> Iterator[None]:
    path = Path("/home/alice") / FILE
    path.write_text(MARK)
    path.chmod(0o644)  # within a home of mode 0700; it is the server that must not hand it out
    yield
    path.unlink()


@pytest.fixture
async def both(site: Site, alice: Person, bob: Person, secret: None) -> tuple[Person, Person]:
    """Both have servers; one pair serves the whole module."""
    for person in (alice, bob):
        if not site.servers(person.name):
            await person.start()
        await person.open()
    return alice, bob


async def nothing_comes(site: Site, target: str, headers: Headers, method: str = "GET") -> None:
    status, answer = await raw(site, target, headers, method)
    assert MARK not in answer, f"{method} {target} with {dict(headers)} gave alice's file"
    assert status == 0 or status >= 300, f"{method} {target}: {status}\n{answer[:400]}"


TARGETS = [
    CONTENTS,
    "/user/%61lice/api/contents/" + FILE,
    "/user/%2561lice/api/contents/" + FILE,
    "/user/bob/../alice/api/contents/" + FILE,
    "/user/bob/%2e%2e/alice/api/contents/" + FILE,
    "/user/bob/%252e%252e/alice/api/contents/" + FILE,
    "/user/bob/..%2falice/api/contents/" + FILE,
    "/user/bob/%2e%2e%2falice%2fapi%2fcontents%2f" + FILE,
    "/user/bob/..;/alice/api/contents/" + FILE,
    "/user/bob/..\\alice\\api\\contents\\" + FILE,
    "/user//alice/api/contents/" + FILE,
    "//user/alice/api/contents/" + FILE,
    "/user/./alice/./api/contents/" + FILE,
    "/user/alice//api//contents/" + FILE,
    "/USER/ALICE/api/contents/" + FILE,
    "/user/Alice/api/contents/" + FILE,
    "/user/ALICE/api/contents/" + FILE,
    "/user/%41lice/api/contents/" + FILE,
    "/user/\uff41lice/api/contents/" + FILE,
    "/user/al\u0131ce/api/contents/" + FILE,
    "/user/alice%00/api/contents/" + FILE,
    "/user/alice%20/api/contents/" + FILE,
    "/user/alice./api/contents/" + FILE,
    "/user/bob/files/../../alice/files/" + FILE,
    "/user/bob/proxy/127.0.0.1/user/alice/api/contents/" + FILE,
    "/hub/user/alice/api/contents/" + FILE,
    "/hub/%2e%2e/user/alice/api/contents/" + FILE,
    "/user/alice/files/" + FILE,
    "/user/alice/api/contents/" + FILE + "?token=",
    "/user/alice/lab",
    "/user/alice/api/kernels",
    "/user/alice/api/sessions",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_no_spelling_of_a_path_leads_bob_to_alices_server(
    site: Site, both: tuple[Person, Person], target: str
) -> None:
    _, bob = both
    mine = cookies(bob, "/user/bob/")
    await nothing_comes(site, target, {"Cookie": as_header(mine), "X-XSRFToken": mine.get("_xsrf", "")})
    await nothing_comes(site, f"http://127.0.0.1:{site.port}{target}", {"Cookie": as_header(mine)})  # absolute form


HEADERS: list[Headers] = [
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-User": "alice", "X-Remote-User": "alice", "Remote-User": "alice", "REMOTE_USER": "alice"},
    {"X-Forwarded-Host": "alice.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/user/alice"},
    {"X-Forwarded-Port": "8888", "X-Forwarded-Context": "/user/alice/", "X-Scheme": "https"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1;host=alice;proto=https"},
    {"Host": "alice"},
    {"Host": "localhost"},
    {"X-Original-URL": CONTENTS, "X-Rewrite-URL": CONTENTS},
    {"X-HTTP-Method-Override": "GET"},
    {"X-Jupyterhub-User": "alice", "X-JupyterHub-Group": "admin"},
    {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: next(iter(headers)))
async def test_no_header_makes_bob_alice(site: Site, both: tuple[Person, Person], headers: Headers) -> None:
    _, bob = both
    await nothing_comes(site, CONTENTS, {**headers, "Cookie": as_header(cookies(bob, "/user/bob/"))})
    await nothing_comes(site, CONTENTS, headers)
    await nothing_comes(site, "/user/bob/../alice/api/contents/" + FILE, headers)


async def test_no_cookie_of_his_own_makes_bob_alice(site: Site, both: tuple[Person, Person]) -> None:
    alice, bob = both
    mine, session_id = cookies(bob, "/user/bob/"), secrets.token_hex(16)
    own = mine["jupyterhub-user-bob"]
    hub = next(value for name, value in mine.items() if name.startswith("jupyterhub-hub-login"))
    forged = [
        {"jupyterhub-user-alice": own},  # his cookie under her name
        {"jupyterhub-user-alice": own.replace(base64.b64encode(b"bob").decode(), base64.b64encode(b"alice").decode())},
        {"jupyterhub-user-alice": hub},
        {"jupyterhub-user-alice": ""},
        {"jupyterhub-user-alice": MARK},
        {**mine, "jupyterhub-session-id": cookies(alice)["jupyterhub-session-id"]},  # guessed right, even
        {**mine, "jupyterhub-session-id": session_id, "jupyterhub-user-alice": own},
        {"jupyterhub-hub-login": hub, "jupyterhub-user-alice": own, "_xsrf": mine["_xsrf"]},
    ]
    for values in forged:
        await nothing_comes(site, CONTENTS, {"Cookie": as_header(values), "X-XSRFToken": mine["_xsrf"]})
        page = {"Cookie": as_header(values), "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        await nothing_comes(site, f"/user/alice/files/{FILE}", page)
    # tossed: the same name twice, either order
    theirs = "jupyterhub-user-alice"
    await nothing_comes(site, CONTENTS, {"Cookie": f"{theirs}={own}; {theirs}={hub}"})
    await nothing_comes(site, CONTENTS, {"Cookie": f"{theirs}={hub}; {theirs}={own}; {as_header(mine)}"})


async def test_bobs_pages_pass_no_oauth_step_for_alices_server(site: Site, both: tuple[Person, Person]) -> None:
    _, bob = both
    for path in ("/user/alice/lab", f"/user/alice/files/{FILE}", "/user/alice/"):
        with pytest.raises(Refused) as refused:  # the browser follows every redirect with all of bob's cookies
            await bob.browser.page(path)
        assert refused.value.rule in {"http.403", "http.404"}


async def test_no_token_of_his_own_makes_bob_alice(site: Site, both: tuple[Person, Person]) -> None:
    _, bob = both
    await bob.browser.page("/hub/home")
    made = await bob.browser.fetch("POST", "/hub/api/users/bob/tokens", {"note": "mine"})
    tokens = [made.json()["token"]]
    tokens.append((await servers_environment(bob))["JUPYTERHUB_API_TOKEN"])
    for token in tokens:
        status, _ = await raw(site, "/user/bob/api/contents", {"Authorization": f"token {token}"})
        own = await raw(site, "/hub/api/user", {"Authorization": f"token {token}"})
        assert 200 in {status, own[0]}, "the token works nowhere"
        for scheme in ("token", "Bearer", "bearer"):
            await nothing_comes(site, CONTENTS, {"Authorization": f"{scheme} {token}"})
        basic = base64.b64encode(f"alice:{token}".encode()).decode()
        await nothing_comes(site, CONTENTS, {"Authorization": f"Basic {basic}"})
        await nothing_comes(site, f"{CONTENTS}?token={token}", {})
        for path in ("/hub/api/users/alice", "/hub/api/users/alice/tokens", "/hub/api/users"):
            await nothing_comes(site, path, {"Authorization": f"token {token}"})
        await nothing_comes(site, "/hub/api/users/alice/server", {"Authorization": f"token {token}"}, "DELETE")
    assert site.servers("alice")[""]["ready"]


async def test_alices_kernel_takes_no_websocket_of_bobs(site: Site, both: tuple[Person, Person]) -> None:
    alice, bob = both
    kernel = await alice.kernel()
    intruder = Kernel(bob, alice.base(), kernel.id)
    with pytest.raises(Unavailable, match="403"):
        await intruder.connect()
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        "Cookie": as_header(cookies(bob, "/user/bob/")),
        "Origin": site.url,
    }
    status, answer = await raw(site, f"/user/bob/../alice/api/kernels/{kernel.id}/channels", headers)
    assert status >= 300, answer[:300]
    assert await kernel.run("print(6 * 7)") == "42"
    kernel.close()


async def test_batchspawners_callback_is_not_there(site: Site, both: tuple[Person, Person]) -> None:
    alice, _ = both
    found = await servers_environment(alice)
    token, hub = found["JUPYTERHUB_API_TOKEN"], urlsplit(found["JUPYTERHUB_API_URL"])
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json", "Content-Length": "0"}
    assert (await raw(site, "/hub/api/user", {"Authorization": f"token {token}"}))[0] == 200  # the token is good
    for method in ("GET", "POST", "PUT"):
        assert (await raw(site, "/hub/api/batchspawner", headers, method))[0] in {404, 405}
    # and by the tunnel, as another process of alice's in the same job would
    asked = {"socket": unquote(hub.netloc), "token": token}
    node = (await alice.session())["node"]
    assert at_node(site, node, BY_THE_TUNNEL, asked, "alice") in ([403, 403, 200], [404, 404, 200])


async def test_and_alice_reads_her_file(site: Site, both: tuple[Person, Person]) -> None:
    alice, bob = both
    headers = {"Cookie": as_header(cookies(alice, "/user/alice/"))}
    status, answer = await raw(site, CONTENTS, headers)
    assert status == 200, answer[:400]
    assert MARK in answer
    assert (await bob.browser.fetch("GET", "/user/bob/api/contents")).is_success
