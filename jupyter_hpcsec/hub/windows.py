"""The hub's pages are held on to by no page that opened them.

Users' own servers are pages of the hub's host, unless it gives users host names: one that opens the hub's page of an
officer who visits it could read there what makes a token in the officer's name. JupyterHub keeps scripts from fetching
its pages, and not from opening them; it has no hook for it, so that the method that sets headers is wrapped, once.
"""

from typing import Any

from jupyterhub.handlers.base import BaseHandler
from tornado.httputil import HTTPHeaders

NAME, VALUE = "Cross-Origin-Opener-Policy", "noopener-allow-popups"
"""https://html.spec.whatwg.org/multipage/browsers.html#cross-origin-opener-policies; the console has the same."""


def install(handler: type[Any] = BaseHandler) -> None:
    """Let all answers say it, unless the site's own ``headers`` do; a second call changes nothing."""
    original = handler.set_default_headers
    if getattr(original, "keeps_windows", False):
        return

    def set_default_headers(self: Any) -> None:
        original(self)
        if NAME not in HTTPHeaders(self.settings.get("headers", {})):
            self.set_header(NAME, VALUE)

    set_default_headers.keeps_windows = True  # type: ignore[attr-defined]
    handler.set_default_headers = set_default_headers
