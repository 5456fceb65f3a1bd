"""The handlers for HTTP: an app's own requests, and the list of what listens."""

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.httputil import HTTPHeaders
from tornado.routing import Rule

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.server.apps.address import MOUNT, Address
from jupyter_hpcsec.server.apps.admission import Admission, Apps, Sorry
from jupyter_hpcsec.server.apps.exchange import BODY_LIMIT, Exchange, dial
from jupyter_hpcsec.server.apps.headers import request_headers, response_headers, without_secrets
from jupyter_hpcsec.server.apps.origin import READING
from jupyter_hpcsec.server.apps.pages import index_page
from jupyter_hpcsec.server.apps.sockets import AppSocket, Upgrading

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerWebApplication

MAY_CHUNK = {"POST", "PUT", "PATCH"}
"""Methods whose body may come without a length."""


@web.stream_request_body
class AppHandler(Admission, JupyterHandler):
    """Every method of ``hpcsec/app/<port>/…`` and ``hpcsec/app/absolute/<port>/…``."""

    _app: Exchange | None = None
    _at: Address
    _whole = False
    """Whether the request has been read to its end."""

    def set_default_headers(self) -> None:
        """What is answered before the request was read to its end also ends the connection."""
        super().set_default_headers()
        self.set_header("Connection", "close")

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse, or have the app's connection ready before the first byte of a body is read."""
        await super().prepare()
        web.authenticated(lambda _: None)(self)
        if self._finished:  # on the way to the login
            return
        await self.admit()
        self._at = self.address()
        if not self._at.path and self.request.method in READING:
            query = without_secrets(self.request.query)
            self.redirect(f"{self._at.prefix}/{'?' if query else ''}{query}")
            return
        self.settings.setdefault("last_activity_times", {})["hpcsec-apps"] = datetime.now(UTC)
        headers = self._request_headers()
        query = without_secrets(self.request.query)
        try:
            app = Exchange(await dial(self._at.port), self)
            await app.begin(self.request.method or "", f"{self._at.seen}{'?' if query else ''}{query}", headers)
        except Unavailable as error:
            raise Sorry(502, f"{error.reason[:1].upper()}{error.reason[1:]}.") from error
        self._transforms = []  # an answer passes as the app encoded it
        self.request.connection.set_max_body_size(BODY_LIMIT)  # type: ignore[union-attr]
        self._app = app

    def _request_headers(self) -> HTTPHeaders:
        """The head for the app, with a body's length stated in one way only (RFC 9112, 6.3)."""
        came, method = self.request.headers, self.request.method or ""
        lengths = came.get_list("Content-Length")
        if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,15}", length) for length in lengths):
            raise Sorry(400, "The request does not say clearly how long it is.", "app.framing")
        codings = came.get_list("Transfer-Encoding")
        if codings not in ([], ["chunked"]):
            raise Sorry(400, "The request's body comes in a coding that is not known.", "app.framing")
        if codings and (lengths or method not in MAY_CHUNK):
            raise Sorry(411, "The request has to say how long it is.", "app.framing")
        headers = request_headers(came, self._at, self.apps.jar, scheme=self.scheme())
        headers["Connection"] = "close"
        if method in MAY_CHUNK and not lengths and not codings:
            headers["Content-Length"] = "0"
        return headers

    async def data_received(self, chunk: bytes) -> None:
        """A part of the request's body; the next is read when the app has taken it."""
        if self._app is not None:
            await self._app.send(chunk)

    @web.authenticated
    async def get(self) -> None:
        """Relay; ``prepare`` has admitted the request and ``data_received`` sent its body."""
        self._whole = True
        if self._finished or self._app is None:  # the app answered before it had the whole request
            return
        try:
            await self._app.finish_request()
        except Unavailable as error:
            raise Sorry(502, f"{error.reason[:1].upper()}{error.reason[1:]}.") from error

    head = post = put = patch = delete = options = get

    def on_connection_close(self) -> None:
        """The browser left."""
        super().on_connection_close()
        if self._app is not None:
            self._app.close()

    async def begin(self, status: int, headers: HTTPHeaders) -> None:
        """The head of the app's answer."""
        self.set_status(status)
        self._headers = HTTPHeaders()
        for name, value in response_headers(headers, self._at, self.apps.jar, host=self.request.host).get_all():
            self.add_header(name, value)
        if not self._whole:
            self.set_header("Connection", "close")
        self.add_header("Content-Security-Policy", self.content_security_policy)  # beside the app's own; both hold
        await self.flush()

    async def body(self, chunk: bytes) -> None:
        """A part of the app's answer."""
        self.write(chunk)
        await self.flush()

    def end(self, *, complete: bool) -> None:
        """The app has nothing more to say. An answer that was cut is cut for the browser, too."""
        if complete:
            self.finish()
        else:
            self.request.connection.close()  # type: ignore[union-attr]


class IndexHandler(Admission, JupyterHandler):
    """``GET hpcsec/app/``: what listens in the session."""

    @web.authenticated
    async def get(self) -> None:
        """The page with the list."""
        await self.admit()
        self.set_header("Cache-Control", "no-store")
        await self.finish(index_page(self.apps.listening()))


def add_apps(web_app: "ServerWebApplication") -> None:
    """Mount the handlers below the server's base URL."""
    apps = Apps(os.environ)
    mount = re.escape(f"{web_app.settings['base_url']}{MOUNT}")
    web_app.add_handlers(  # type: ignore[no-untyped-call]
        ".*$",
        [
            (f"{mount}", IndexHandler, {"apps": apps}),
            Rule(Upgrading(f"{mount}.+"), AppSocket, {"apps": apps}),
            (f"{mount}.+", AppHandler, {"apps": apps}),
        ],
    )
