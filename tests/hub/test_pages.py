"""The page of a session that can't be reached, as JupyterHub renders it."""

import re
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

from jupyter_hpcsec.hub.pages import TEMPLATES


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
