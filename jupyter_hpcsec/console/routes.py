"""All routes of the console, and its navigation. What is not here does not exist; a test walks this list."""

from pathlib import Path
from typing import Any, NamedTuple

from tornado.web import RequestHandler

from jupyter_hpcsec.console.page import Callback, Page, Static
from jupyter_hpcsec.console.pages import alerts, home, integrity, live, me, policy, projects, search, session

STATIC = Path(__file__).parent / "static"

PAGES: list[tuple[str, type[Page]]] = [
    *home.ROUTES,
    *live.ROUTES,
    *session.ROUTES,
    *search.ROUTES,
    *alerts.ROUTES,
    *integrity.ROUTES,
    *policy.ROUTES,
    *projects.ROUTES,
    *me.ROUTES,
]
"""(pattern below the prefix, handler)."""


class Entry(NamedTuple):
    """A line of the navigation."""

    label: str
    path: str
    scope: str


NAV = tuple(Entry(page.label, pattern, page.scope) for pattern, page in PAGES if page.label)
"""In the order of ``PAGES``; a page with a label has a plain path."""


def rules(prefix: str) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """For tornado's ``Application``."""
    return [
        (f"{prefix}oauth_callback", Callback, {}),
        (f"{prefix}static/([a-z0-9_.-]{{1,64}})", Static, {"path": str(STATIC)}),
        *((f"{prefix}{pattern}", page, {}) for pattern, page in PAGES),
    ]
