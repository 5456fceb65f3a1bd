"""The page of a session that can't be reached, as JupyterHub renders it."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

from jupyter_hpcsec.hub.ending import Ended
from jupyter_hpcsec.hub.pages import TEMPLATES


def page_of(name: str) -> Any:
    own = FileSystemLoader(str(Path(DATA_FILES_PATH) / "templates"))
    loader = ChoiceLoader([PrefixLoader({"templates": own}, "/"), FileSystemLoader(TEMPLATES), own])
    return Environment(loader=loader, autoescape=True).get_template(name)


def person(ended: Ended | None, name: str = "alice") -> Any:
    spawner = SimpleNamespace(ended=ended, name="")
    return SimpleNamespace(name=name, spawners={"": spawner}, spawner=spawner)


WHERE: dict[str, Any] = {
    "base_url": "/hub/",
    "static_url": lambda path, **_: f"/hub/static/{path}",
    "login_url": "/hub/login",
    "logout_url": "/hub/logout",
    "xsrf": "",
    "parsed_scopes": {},
    "server_name": "",
    "spawn_url": "/hub/spawn/alice",
    "default_server": SimpleNamespace(active=False, ready=False, pending=False),
}
ENDED = Ended("<script>alert(1)</script> call security", "staff")
SHOWN = "ended by this site&#39;s staff: &lt;script&gt;alert(1)&lt;/script&gt; call security"


def test_the_page_after_the_cut_says_who_and_why_and_starts_nothing_by_itself() -> None:
    alice = person(ENDED)
    html = page_of("not_running.html").render(WHERE, user=alice, implicit_spawn_seconds=1)
    assert SHOWN in html and "<script>alert(1)" not in html
    assert "setTimeout" not in html and 'require(["not_running"])' in html
    named = person(None)
    named.spawners["gpu"] = SimpleNamespace(ended=ENDED)
    assert SHOWN in page_of("not_running.html").render(WHERE | {"server_name": "gpu"}, user=named)
    plain = page_of("not_running.html").render(WHERE, user=person(None), implicit_spawn_seconds=1)
    assert "setTimeout" in plain and "ended" not in plain.split("<main")[-1].split("<script")[0]


def test_every_page_says_so_until_the_next_start() -> None:
    for name in ("home.html", "spawn.html"):
        html = page_of(name).render(WHERE, user=person(ENDED), spawner=person(ENDED).spawner, url="/hub/spawn")
        assert SHOWN in html and "<script>alert(1)" not in html
        assert "hpcsec-ended" not in page_of(name).render(WHERE, user=person(None), url="/hub/spawn")
    assert "hpcsec-ended" not in page_of("login.html").render(WHERE, user=None, custom_html="x")


def test_the_page_of_a_session_that_is_away_tries_again_and_asks_no_other_host() -> None:
    own = FileSystemLoader(str(Path(DATA_FILES_PATH) / "templates"))
    loader = ChoiceLoader([PrefixLoader({"templates": own}, "/"), FileSystemLoader(TEMPLATES), own])
    page = Environment(loader=loader, autoescape=True).get_template("503.html")
    html = page.render(base_url="/hub/", static_url=lambda path, **_: f"/hub/static/{path}", login_url="/hub/login")
    assert '<meta http-equiv="refresh" content="5">' in html and "go on meanwhile" in html
    assert 'href="/hub/home"' in html and 'id="login"' not in html
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", html)
    refused = page.render(
        base_url="/hub/", static_url=lambda path, **_: path, login_url="/hub/login", message="can't <b>be</b> recorded"
    )
    assert "can&#39;t &lt;b&gt;be&lt;/b&gt; recorded" in refused
    assert "refresh" not in refused
