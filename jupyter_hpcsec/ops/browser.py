"""A browser without a window: what ``hpcsec quickstart --check`` does in a person's place, by a browser's own routes.

``Browser`` keeps the cookies and sends the headers that a browser sends (``Sec-Fetch-*``, ``Origin``, the XSRF token
of the cookie's path), because JupyterHub decides by them. It may use no API token: what a person can't do, it can't.
"""

import json
from collections.abc import AsyncIterator, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable

PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
TIMEOUT_S = 120.0
EVENT_LIMIT = 64 * 1024
"""Bytes of one progress event."""


class _SpawnForm(HTMLParser):
    """Collects the fields of ``form#spawn_form`` with the values a person would send by just pressing *Start*."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.action: str | None = None
        self._inside = False
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("method", "").lower() == "post":
            self._inside, self.action = True, given.get("action", "")
        elif self._inside and tag == "input" and given.get("name"):
            if given.get("type") not in {"submit", "button"} and (
                given.get("type") not in {"radio", "checkbox"} or "checked" in given
            ):
                self.fields[given["name"]] = given.get("value", "")
        elif self._inside and tag == "select":
            self._select = given.get("name")
        elif (
            self._inside
            and tag == "option"
            and self._select
            and ("selected" in given or self._select not in self.fields)
        ):
            self.fields[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = None


class _ErrorText(HTMLParser):
    """Collects the text of ``div.error``, where JupyterHub's pages say what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and (self._depth or "error" in (dict(attrs).get("class") or "").split()):
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "div" and self._depth > 0

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.text.append(data)


def spawn_form(page: str) -> tuple[str, dict[str, str]] | None:
    """(action, fields) of the page's form that is sent by POST, or ``None`` when the page has none."""
    parser = _SpawnForm()
    parser.feed(page)
    return None if parser.action is None else (parser.action, parser.fields)


class Browser:
    """One person's browser at ``url`` (scheme, host and port, without a trailing slash)."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self.http = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT_S, follow_redirects=True, trust_env=False, transport=transport
        )

    async def close(self) -> None:
        """Close the connections; the cookies are gone with the object."""
        await self.http.aclose()

    def xsrf(self, path: str) -> str:
        """The XSRF token for ``path``: of the cookies whose path holds it, the most specific one's value."""
        found = [
            cookie
            for cookie in self.http.cookies.jar
            if cookie.name == "_xsrf" and (path + "/").startswith(cookie.path.rstrip("/") + "/")
        ]
        return max(found, key=lambda cookie: len(cookie.path)).value or "" if found else ""

    async def page(self, path: str, **query: str) -> httpx.Response:
        """Open a page as the address bar does, and follow its redirects; ``Refused`` when it is an error page."""
        return _good(await self._send("GET", path, headers=PAGE, params=query or None))

    async def submit(self, path: str, fields: Mapping[str, str]) -> httpx.Response:
        """Send a form."""
        headers = PAGE | {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        return _good(await self._send("POST", path, headers=headers, data=dict(fields)))

    async def fetch(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """What a page's script does: same origin, XSRF token, a JSON body where ``body`` is given."""
        return _good(await self._send(method, path, headers=self._script_headers(path), json=body))

    def _script_headers(self, path: str) -> dict[str, str]:
        return {
            "Sec-Fetch-Mode": "cors",
            "Sec-Fetch-Site": "same-origin",
            "Origin": self.url,
            "Referer": self.url + "/",
            "X-XSRFToken": self.xsrf(urlsplit(path).path),
        }

    async def _send(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            return await self.http.request(method, path, **rest)
        except httpx.TransportError as exc:
            raise Unavailable(f"{method} {urlsplit(path).path}: {type(exc).__name__} {exc}") from exc

    async def chunks(self, path: str) -> AsyncIterator[bytes]:
        """The body of a download that a click on a page of this origin starts, as it comes."""
        try:
            headers = PAGE | {"Referer": self.url + "/", "Sec-Fetch-Site": "same-origin"}
            async with self.http.stream("GET", path, headers=headers) as response:
                if not response.is_success:
                    await response.aread()
                _good(response)
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.TransportError as exc:
            raise Unavailable(f"GET {path}: {type(exc).__name__} {exc}") from exc

    async def events(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The JSON events of a ``text/event-stream``, as JupyterHub's progress has them."""
        headers = self._script_headers(path) | {"Accept": "text/event-stream"}
        try:
            async with self.http.stream("GET", path, headers=headers) as response:
                if not response.is_success:
                    await response.aread()
                _good(response)
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        yield _event(line)
        except httpx.TransportError as exc:
            raise Unavailable(f"GET {path}: {type(exc).__name__} {exc}") from exc

    async def websocket(self, path: str) -> WebSocketClientConnection:
        """Open a websocket with the cookies and the origin of the page."""
        url = f"{self.url}{path}"
        cookies = self.http.build_request("GET", path).headers.get("Cookie", "")
        headers = {"Origin": self.url, "Cookie": cookies, "Sec-Fetch-Mode": "websocket"}
        request = HTTPRequest(url.replace("http", "ws", 1), headers=headers, connect_timeout=TIMEOUT_S)
        try:
            return await websocket_connect(request, max_message_size=64 * 1024 * 1024)
        except (HTTPClientError, OSError) as exc:
            raise Unavailable(f"The websocket {urlsplit(path).path} was not opened: {exc}") from exc

    async def spawn(self, user: str) -> AsyncIterator[str]:
        """Start ``user``'s server from the spawn page; yields the progress messages until the server is ready.

        ``Refused`` carries the reason that the spawn page shows when the start failed.
        """
        page = await self.page("/hub/spawn")
        form = spawn_form(page.text)
        if form is not None and page.url.path.startswith("/hub/spawn"):
            _action, fields = form
            page = await self.submit(page.url.raw_path.decode("ascii"), fields)
        if page.url.path.startswith("/user/"):
            return
        path = f"/hub/api/users/{quote(user)}/server/progress?_xsrf={quote(self.xsrf('/hub/'))}"
        async for event in self.events(path):
            if event.get("failed"):
                raise Refused("spawn.failed", str(event.get("message", "The server did not start.")))
            yield str(event.get("message", ""))
            if event.get("ready"):
                return
        raise Unavailable("The progress ended before the server was ready.")


def _event(line: str) -> dict[str, Any]:
    if len(line) > EVENT_LIMIT:
        raise Malformed(f"A progress event of {len(line)} characters.")
    try:
        event = json.loads(line.removeprefix("data:"))
    except ValueError as exc:
        raise Malformed("A progress event is not JSON.") from exc
    if not isinstance(event, dict):
        raise Malformed("A progress event is not an object.")
    return event


def _good(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    path = response.request.url.path
    raise Refused(f"http.{response.status_code}", f"{response.request.method} {path}: {_sentence(response)}")


def _sentence(response: httpx.Response) -> str:
    """What an error answer says: JSON's message, else the error part of JupyterHub's page, else the status."""
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        parser = _ErrorText()
        parser.feed(response.text)
        return " ".join(" ".join(parser.text).split()) or response.reason_phrase or f"status {response.status_code}"
