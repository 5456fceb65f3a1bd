"""Websockets between a browser and an app: message by message, at the pace of the slower side."""

import asyncio
from typing import Any

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.routing import PathMatches
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    WebSocketHandler,
    websocket_connect,
)

from jupyter_hpcsec.server.apps.address import Address
from jupyter_hpcsec.server.apps.admission import Admission, Sorry, is_upgrade
from jupyter_hpcsec.server.apps.exchange import CONNECT_S, Loopback
from jupyter_hpcsec.server.apps.headers import request_headers, without_secrets

MESSAGE_LIMIT = 32 * 1024 * 1024
"""Bytes of one message: it is held whole."""
HANDSHAKE_S = 60.0
REASON_LIMIT = 123
"""Bytes of a reason in a close frame (RFC 6455, 5.5)."""


class Upgrading(PathMatches):
    """Takes the requests that ask for a websocket."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """As ``PathMatches``, for these alone."""
        return super().match(request) if is_upgrade(request.headers) else None


class AppSocket(Admission, WebSocketMixin, WebSocketHandler, JupyterHandler):
    """A websocket below ``hpcsec/app/<port>/``. The app is asked first, so that it picks the subprotocol."""

    _app: WebSocketClientConnection | None = None
    _pump: "asyncio.Task[None] | None" = None

    @property
    def max_message_size(self) -> int:
        """Bytes of one message from the browser."""
        return MESSAGE_LIMIT

    def check_origin(self, origin: str | None = None) -> bool:
        """A page of another origin is refused, also one with a token or one that the server's CORS settings allow."""
        if self.is_from_here() or (self.token_authenticated and origin is None):
            return True
        self.tell_refused("app.origin", "The request comes from another site's page.")
        return False

    @ws_authenticated
    async def get(self) -> None:
        """The handshake, first with the app."""
        await self.admit()
        address = self.address()
        self._app = await self._connect(address)
        try:
            await super().get()  # until the browser's side has closed
        finally:
            self._app.close()

    async def _connect(self, address: Address) -> WebSocketClientConnection:
        query = without_secrets(self.request.query)
        request = HTTPRequest(
            f"ws://{address.authority}{address.seen}{'?' if query else ''}{query}",
            headers=request_headers(self.request.headers, address, self.apps.jar, scheme=self.scheme()),
            connect_timeout=CONNECT_S,
            request_timeout=HANDSHAKE_S,
        )
        asked = [name.strip() for name in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        try:
            return await websocket_connect(
                request,
                subprotocols=[name for name in asked if name] or None,
                max_message_size=MESSAGE_LIMIT,
                resolver=Loopback(),
            )
        except HTTPClientError as error:
            raise Sorry(502, f"The app on port {address.port} refused the websocket ({error.code}).") from error
        except (OSError, StreamClosedError, WebSocketError) as error:
            raise Sorry(502, f"Nothing on port {address.port} takes websockets yet.") from error

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """What the app chose."""
        return self._app.selected_subprotocol if self._app is not None else None

    def open(self, *args: str, **kwargs: str) -> None:
        """Both sides stand."""
        super().open(*args, **kwargs)
        self._pump = asyncio.create_task(self._from_app())

    async def _from_app(self) -> None:
        app = self._app
        assert app is not None, "BUG: opened without an app"  # noqa: S101
        try:
            while (message := await app.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
        except (WebSocketClosedError, StreamClosedError):
            return
        self.close(*_sendable(app.close_code, app.close_reason))

    async def on_message(self, message: str | bytes) -> None:
        """The browser's message; the next is read when the app has taken this one."""
        if self._app is not None:
            try:
                await self._app.write_message(message, binary=isinstance(message, bytes))
            except (WebSocketClosedError, StreamClosedError):
                self.close()

    def on_close(self) -> None:
        """The browser's side has closed."""
        super().on_close()
        if self._app is not None:
            self._app.close(*_sendable(self.close_code, self.close_reason))


def _sendable(code: int | None, reason: str | None) -> tuple[int | None, str | None]:
    """A close code as it may be sent on (RFC 6455, 7.4): some only say how a connection ended."""
    if code is None or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        return None, None
    return code, (reason or "").encode()[:REASON_LIMIT].decode(errors="ignore")
