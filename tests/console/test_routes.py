"""A walk over all routes: none answers without a login, none without its scope, and every answer has the headers."""

import re

import pytest
from tornado.web import RequestHandler

from jupyter_hpcsec.console.identity import OURS
from jupyter_hpcsec.console.page import HEADERS, SELF, Callback, Page
from jupyter_hpcsec.console.routes import NAV, PAGES, rules
from tests.console.conftest import PREFIX, Place

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAMPLES = {"[0-9a-f]{32}": "0" * 32, "[a-z0-9_.-]{1,64}": "console.css"}


def sample(pattern: str) -> str:
    """A path that a route's pattern matches."""

    def fill(group: re.Match[str]) -> str:
        inner = group[1].removeprefix("?:")
        if inner in SAMPLES:
            return SAMPLES[inner]
        for candidate in ("0" * 32, "1", "a", "x.html", "2", "00000000-0000-0000-0000-000000000000"):
            if re.fullmatch(inner, candidate):
                return candidate
        raise AssertionError(f"a pattern that the walk can't fill: {pattern}")

    path = re.sub(r"\(((?:[^()\\]|\\.)*)\)", fill, pattern).replace("\\.", ".")
    assert re.fullmatch(pattern, path), f"{pattern} is not matched by {path}"
    return path


ROUTES = [(sample(pattern), handler) for pattern, handler, _ in rules(PREFIX)]
OTHER = [(f"{PREFIX}no-such-page", Page), ("/", Page), ("/services/", Page)]


def answers(handler: type[RequestHandler]) -> list[str]:
    """The methods that a handler has."""
    none = RequestHandler._unimplemented_method
    return [name for name in METHODS if getattr(handler, name.lower()) is not none]


async def test_no_route_answers_without_a_login(place: Place) -> None:
    for path, handler in [*ROUTES, *OTHER]:
        await nobody_gets_in(place, path, handler)


async def nobody_gets_in(place: Place, path: str, handler: type[RequestHandler]) -> None:
    for method in METHODS:
        answer = await place.get(path, method)
        is_login = answer.status_code == 302 and answer.headers["Location"].startswith("/hub/api/oauth2/authorize?")
        assert is_login or answer.status_code in (400, 403, 405), (method, answer.status_code)
        assert method == "GET" or not is_login
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert "Server" not in answer.headers
    count = len(METHODS) if handler is not Callback else 1  # it has no login to be without, and refuses an empty GET
    refused = await place.events("console.refused", lambda event: event["object"]["name"] == path, count)
    assert {event["source"] for event in refused} == {"127.0.0.1"}


async def test_no_route_answers_without_its_scope(place: Place) -> None:
    walked = 0
    for path, handler in ROUTES:
        if not issubclass(handler, Page) or handler.scope == SELF:
            continue  # whoever is logged in may: own records only
        token = place.hub.person("bob", *(scope for scope in OURS if scope != handler.scope))
        for method in answers(handler):
            answer = await place.get(path, method, Authorization=f"token {token}")
            assert answer.status_code == 403, (path, method)
            walked += 1
    refused = await place.events("console.refused", lambda event: event["rule"] == "console.scope", walked)
    assert walked and {event["subject"]["user"] for event in refused} == {"bob"}


async def test_the_walk_would_see_an_open_route(place: Place) -> None:
    """The same request with a login is answered: it is the login that was missing."""
    for path, token in ((f"{PREFIX}live", place.hub.person("ada", *OURS)), (f"{PREFIX}static/console.css", None)):
        given = token or place.hub.person("bob")
        answer = await place.get(path, Authorization=f"token {given}")
        assert answer.status_code == 200


def test_every_page_has_a_scope_that_is_known() -> None:
    assert {page.scope for _, page in PAGES} <= {*OURS, SELF}
    assert all("(" not in entry.path for entry in NAV)


@pytest.mark.parametrize(
    "path", ["static/../service.py", "static/..%2fservice.py", "static/%2e%2e/page.py", "static/.x"]
)
async def test_no_other_file_is_served(place: Place, path: str) -> None:
    token = place.hub.person("ada", *OURS)
    answer = await place.get(path, Authorization=f"token {token}")
    assert answer.status_code in (403, 404) and "import" not in answer.text
