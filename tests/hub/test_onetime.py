"""The one-time login: what is refused first, then that exactly one use of one code works, in a real hub."""

import asyncio
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.onetime import (
    CLOSED,
    CODE,
    USED,
    OneTimeAuthenticator,
    OneTimeCode,
    new_code,
    publish_to,
)


def fixed(*codes: str) -> Callable[[], str]:
    return iter(codes).__next__


FIRST, SECOND, THIRD = "a" * 43, "b" * 43, "c" * 43


@pytest.fixture
def published() -> list[str]:
    return []


@pytest.fixture
def code(published: list[str]) -> OneTimeCode:
    made = OneTimeCode(published.append, fixed(FIRST, SECOND, THIRD))
    made.issue()
    return made


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "a",
        "a" * 42,
        "a" * 44,
        FIRST + "\n",
        " " + FIRST,
        FIRST + "=",
        "ä" * 43,
        "a" * 42 + "+",
        "a" * 42 + "/",
        "a" * 10**6,
    ],
)
def test_another_form_is_refused_and_costs_nothing(code: OneTimeCode, published: list[str], presented: str) -> None:
    with pytest.raises(Refused) as refused:
        code.consume(presented)
    assert refused.value.rule == "login.form"
    assert published == [FIRST]


@given(st.from_regex(CODE, fullmatch=True).filter(lambda text: text != FIRST))
def test_any_other_code_is_refused(presented: str) -> None:
    code = OneTimeCode([].append, fixed(FIRST, SECOND))
    code.issue()
    with pytest.raises(Refused) as refused:
        code.consume(presented)
    assert refused.value.rule == "login.used"
    code.consume(FIRST)


def test_before_the_first_code_nobody_gets_in() -> None:
    with pytest.raises(Refused) as refused:
        OneTimeCode([].append).consume(FIRST)
    assert refused.value.rule == "login.closed"


def test_a_code_is_good_once_and_its_successor_is_published(code: OneTimeCode, published: list[str]) -> None:
    code.consume(FIRST)
    assert published == [FIRST, SECOND]
    with pytest.raises(Refused):
        code.consume(FIRST)
    code.consume(SECOND)


def test_when_the_next_code_cannot_be_published_nobody_gets_in() -> None:
    failing = iter([False, True])

    def publish(_: str) -> None:
        if next(failing):
            raise Unavailable("no space")

    code = OneTimeCode(publish, fixed(FIRST, SECOND))
    code.issue()
    with pytest.raises(Unavailable):
        code.consume(FIRST)
    for void in (FIRST, SECOND):
        with pytest.raises(Refused) as refused:
            code.consume(void)
        assert refused.value.rule == "login.closed"


def test_a_generator_of_another_form_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="BUG"):
        OneTimeCode([].append, fixed("short")).issue()


def test_new_codes_have_the_form_and_differ() -> None:
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100 and all(CODE.fullmatch(one) for one in codes)


def test_the_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "login"
    publish = publish_to(path)
    os.umask(os.umask(0))
    publish(FIRST)
    inode = path.stat().st_ino
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "login.new").write_text("left by a crash")
    publish(SECOND)
    assert path.read_text() == SECOND + "\n" and path.stat().st_ino != inode
    assert [p.name for p in tmp_path.iterdir()] == ["login"]


def test_a_link_in_the_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "login.new").symlink_to(victim)
    publish_to(tmp_path / "login")(FIRST)
    assert victim.read_text() == "mine"


def test_a_directory_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be written"):
        publish_to(tmp_path / "gone" / "login")(FIRST)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(TraitError, match="0700"):
        OneTimeAuthenticator(username="ada", code_file=str(tmp_path / "login"))


async def test_each_code_is_its_own_persons(tmp_path: Path) -> None:
    made = authenticator(tmp_path, others={"auditor": str(tmp_path / "login-auditor")})
    codes = {name: (tmp_path / file).read_text().strip() for name, file in CODE_FILES.items()}
    for name, code in codes.items():
        assert await made.authenticate(None, {"code": code, "username": "eve"}) == name
        with pytest.raises(Refused):
            await made.authenticate(None, {"code": code})
    assert made.check_allowed("Ada") and made.check_allowed("auditor") and not made.check_allowed("eve")


CODE_FILES = {"Ada": "login", "auditor": "login-auditor"}


def test_a_relative_code_file_is_refused() -> None:
    with pytest.raises(TraitError, match="absolute"):
        OneTimeAuthenticator(username="ada", code_file="login")


def test_without_user_or_file_the_hub_does_not_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for settings in ({"username": "ada"}, {"code_file": str(tmp_path / "login")}):
        with pytest.raises(TraitError, match="needs both"):
            OneTimeAuthenticator(**settings).get_handlers(None)


def authenticator(directory: Path, **settings: object) -> OneTimeAuthenticator:
    directory.chmod(0o700)
    made = OneTimeAuthenticator(username="Ada", code_file=str(directory / "login"), **settings)
    made.get_handlers(None)
    return made


async def test_only_the_one_user_is_ever_named(tmp_path: Path) -> None:
    one = authenticator(tmp_path, allowed_users={"eve"})
    assert not one.check_allowed("eve") and not one.check_allowed("ada")
    data = {"code": (tmp_path / "login").read_text().strip(), "username": "eve"}
    model = await one.get_authenticated_user(None, data)
    assert model["name"] == "Ada" and not model["admin"]


async def test_of_two_uses_at_once_one_is_refused(tmp_path: Path) -> None:
    one = authenticator(tmp_path)
    data = {"code": (tmp_path / "login").read_text().strip()}
    results = await asyncio.gather(*(one.get_authenticated_user(None, data) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, Refused) for result in results) == 7


HUB_CONFIG = """
from jupyterhub.proxy import Proxy
class NoProxy(Proxy):
    should_start = False
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {{}}
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.authenticator_class = "jupyter_hpcsec.hub.onetime.OneTimeAuthenticator"
c.OneTimeAuthenticator.username = "ada"
c.OneTimeAuthenticator.code_file = "{directory}/login"
c.JupyterHub.redirect_to_server = False
"""


def wait_until(what: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Progress is awaited, no duration is asserted; the test's own time-out is the end."""
    while not what():
        assert process.poll() is None, "the hub ended"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real JupyterHub without proxy: (its URL, its directory)."""
    directory = tmp_path_factory.mktemp("hub")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "config.py").write_text(HUB_CONFIG.format(port=port, directory=directory))
    with (directory / "log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterhub", "-f", "config.py"]
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/hub/health").is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, process)
        yield url, directory
    finally:
        process.terminate()
        process.wait()


def sentence(response: httpx.Response) -> str:
    found = re.search("<p>(.*)</p>", response.text)
    assert found
    return unescape(found[1])


@pytest.mark.e2e
@pytest.mark.parametrize("query", ["", "?code=", "?code=wrong", f"?code={FIRST}", "?code={0}&code={0}", "?code={0}%20"])
def test_hub_refuses_with_a_sentence(hub: tuple[str, Path], query: str) -> None:
    url, directory = hub
    current = (directory / "login").read_text().strip()
    response = httpx.get(f"{url}/hub/onetime{query.format(current)}")
    assert response.status_code == 403 and sentence(response) == USED
    assert "jupyterhub-session-id" not in response.cookies and "jupyterhub-hub-login" not in response.cookies
    assert response.headers["Referrer-Policy"] == "no-referrer" and response.headers["Cache-Control"] == "no-store"
    assert (directory / "login").read_text().strip() == current


@pytest.mark.e2e
def test_hub_has_no_other_way_in(hub: tuple[str, Path]) -> None:
    url, directory = hub
    code = (directory / "login").read_text().strip()
    page = httpx.get(f"{url}/hub/login")
    assert page.status_code == 403 and sentence(page) == CLOSED
    assert "<form" not in page.text and 'id="login"' not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer" and page.headers["Cache-Control"] == "no-store"
    assert not re.findall(r"""(?:src|href)=["'](?!/hub/)""", page.text)
    with httpx.Client() as client:
        client.get(f"{url}/hub/login")
        for path in ("login", "onetime", f"onetime?code={code}"):
            form = {"username": "ada", "password": "x", "code": code, "_xsrf": client.cookies.get("_xsrf", "")}
            assert client.post(f"{url}/hub/{path}", data=form).status_code in {403, 405}
    assert httpx.head(f"{url}/hub/onetime?code={code}").status_code == 405
    assert (directory / "login").read_text().strip() == code


@pytest.mark.e2e
def test_hub_lets_the_user_in_once(hub: tuple[str, Path]) -> None:
    url, directory = hub
    code = (directory / "login").read_text().strip()
    with httpx.Client(base_url=url) as client:
        response = client.get("/hub/onetime", params={"code": code})
        assert response.status_code == 302 and code not in response.headers["Location"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
        home = client.get("/hub/home")
        assert home.status_code == 200
        assert client.get("/hub/api/user", headers={"Sec-Fetch-Mode": "navigate"}).json()["name"] == "ada"
        assert client.get("/hub/login").status_code == 302
        used = client.get("/hub/onetime", params={"code": code})
        assert used.status_code == 403 and sentence(used) == USED and 'href="/hub/home">Go on<' in used.text
    again = httpx.get(f"{url}/hub/onetime", params={"code": code})
    assert again.status_code == 403
    assert (directory / "login").read_text().strip() != code
    assert code not in (directory / "log").read_text()
