"""Pages of the hub: who opened one gets no hold of it. What a browser makes of it: ``tests/console``."""

from typing import Any

import pytest
from jupyterhub.handlers.base import BaseHandler

from jupyter_hpcsec.console.page import HEADERS
from jupyter_hpcsec.hub import spawner, windows


class Handler:
    """Of JupyterHub's, what is used."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.headers = settings, dict[str, str]()

    def set_header(self, name: str, value: str) -> None:
        self.headers[name] = value

    def set_default_headers(self) -> None:
        for name, value in {"X-Hub": "1", **self.settings.get("headers", {})}.items():
            self.set_header(name, value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({}, windows.VALUE), ({"headers": {"X": "y"}}, windows.VALUE), ({"headers": {windows.NAME: "other"}}, "other")],
)
def test_every_answer_says_it_unless_the_site_says_something_else(settings: dict[str, Any], said: str) -> None:
    windows.install(Handler)
    windows.install(Handler)
    handler = Handler(**settings)
    handler.set_default_headers()
    assert handler.headers[windows.NAME] == said and handler.headers["X-Hub"] == "1"


def test_it_is_the_hubs_and_the_consoles() -> None:
    assert spawner and getattr(BaseHandler.set_default_headers, "keeps_windows", False)
    assert HEADERS[windows.NAME] == windows.VALUE
