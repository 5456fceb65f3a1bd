"""The Hub API for sessions whose node has no route to the hub: an HTTP/1.1 reverse proxy in the gateway.

It lets through what ``hubrules`` lists, one exchange at a time, with few headers of either side, and never follows a
redirect. It adds no credentials: the single-user server's own token is what the hub judges.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from socket import socket
from urllib.parse import unquote, urlsplit

from tornado.http1connection import HTTP1Connection
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.tunnel.hubrules import BODY_LIMIT, Route, allow, check_base_path, check_body
from jupyter_hpcsec.tunnel.limits import Cap, Counters, RateLimit
from jupyter_hpcsec.tunnel.unixhttp import unix_client

REQUEST_HEADERS = ("Accept", "Authorization", "User-Agent")
"""Passed on as they are; the type of a body is spelled anew. So no cookie, no Host and no forwarding header."""

RESPONSE_HEADERS = ("Cache-Control", "Content-Type", "Date", "Retry-After", "X-JupyterHub-Version")
"""Passed back. The single-user server compares ``X-JupyterHub-Version`` with its own."""

IDENTITY = "/user"
"""Of the routes, the one that says whose a token is."""
RESPONSE_LIMIT = 4 << 20
"""Bytes; a user with thousands of groups and scopes fits."""

HEADER_LIMIT = 16 << 10
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 20.0
IDLE_TIMEOUT_S = 75.0
AT_ONCE = 8
"""Requests that one session may have under way."""
RATE, BURST = 20.0, 100
"""Requests a second that one session may send on the long run, and at once."""
HUB_CONNECTIONS = 64
"""Connections of all sessions to the hub."""


class HubAway(Exception):
    """The hub gave no usable answer: the HTTP status to answer with, and a sentence."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(reason)


class HubUpstream:
    """The hub as all sessions' proxies share it.

    ``url`` is the hub's API URL as the gateway reaches it: ``http://127.0.0.1:8081/hub/api``, ``https://…``, or
    ``http+unix://%2Frun%2Fhub.sock/hub/api``; ``Malformed`` where it is none.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "http+unix") or not parts.netloc or parts.query or parts.fragment:
            raise Malformed(f"The Hub API's URL has to be http, https or http+unix, without a query, not {url!r}.")
        if "@" in parts.netloc:
            raise Malformed("The Hub API's URL may hold no password.")
        self._shown = url
        unix = parts.scheme == "http+unix"
        self._socket = Path(unquote(parts.netloc)) if unix else None
        self._url = f"http://hub{parts.path.rstrip('/')}" if unix else url.rstrip("/")
        self._made: AsyncHTTPClient | None = None

    @property
    def _client(self) -> AsyncHTTPClient:
        # Made at the first request: tornado's client belongs to the event loop that runs then.
        if self._made is None:
            self._made = (
                unix_client(self._socket, max_clients=HUB_CONNECTIONS, max_body_size=RESPONSE_LIMIT)
                if self._socket
                else SimpleAsyncHTTPClient(
                    force_instance=True,
                    max_clients=HUB_CONNECTIONS,
                    max_buffer_size=RESPONSE_LIMIT,
                    max_body_size=RESPONSE_LIMIT,
                )
            )
        return self._made

    async def fetch(self, route: Route, headers: HTTPHeaders, body: bytes) -> HTTPResponse:
        """The hub's answer, a refusal of the hub's own included; ``HubAway`` when there is none to pass back."""
        request = HTTPRequest(
            self._url + route.suffix,
            method=route.method,
            headers=headers,
            body=body if route.content_types else None,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,
            decompress_response=False,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except HTTPTimeoutError as exc:
            raise HubAway(HTTPStatus.SERVICE_UNAVAILABLE, "JupyterHub did not answer the gateway in time.") from exc
        except HTTPError as exc:
            raise HubAway(HTTPStatus.BAD_GATEWAY, "JupyterHub's answer broke off or was too large.") from exc
        except OSError as exc:
            reason = f"The gateway can't reach JupyterHub at {self._shown}; it may be starting."
            raise HubAway(HTTPStatus.SERVICE_UNAVAILABLE, reason) from exc
        if 300 <= response.code < 400:
            raise HubAway(HTTPStatus.BAD_GATEWAY, "JupyterHub redirected an API request; is its API URL right?")
        return response

    def close(self) -> None:
        """Close the client; requests under way fail."""
        if self._made is not None:
            self._made.close()
            self._made = None


class HubApiProxy(HTTPServerConnectionDelegate):
    """The Hub API for one session, on any number of connected sockets.

    ``user`` and ``server`` are the hub's names, ``base_path`` is the API's path as the node sees it. Refusals are
    counted by rule in ``counters``, logged, and given to ``refused``; ``identified`` is given what the hub answers of
    whom a login or a token is, before the session's server is; ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        upstream: HubUpstream,
        *,
        user: str,
        server: str,
        base_path: str = "/hub/api",
        counters: Counters,
        log: logging.Logger,
        refused: Callable[[Refused], None] = lambda error: None,
        identified: Callable[[bytes], None] = lambda body: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refused, self.identified = refused, identified
        self.user = user
        self.server = server
        self.base_path = check_base_path(base_path)
        self.upstream = upstream
        self.under_way = Cap(AT_ONCE)
        self.counters = counters
        self._log = log
        self._clock = clock
        self._rate = RateLimit(RATE, BURST, keys=1)
        self._server = HTTPServer(
            self,
            max_header_size=HEADER_LIMIT,
            max_body_size=RESPONSE_LIMIT,
            idle_connection_timeout=IDLE_TIMEOUT_S,
            body_timeout=REQUEST_TIMEOUT_S,
        )

    def serve(self, sock: socket) -> None:
        """Answer requests on one end of a connected pair until the other end closes; takes the socket over."""
        sock.setblocking(False)
        self._server.handle_stream(IOStream(sock, max_buffer_size=RESPONSE_LIMIT), ("", 0))

    async def close(self) -> None:
        """Close all connections, exchanges under way included."""
        await self._server.close_all_connections()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Called by tornado for each request."""
        if not isinstance(request_conn, HTTP1Connection):
            raise TypeError("BUG: a connection that does not speak HTTP/1")
        return _Exchange(self, request_conn)

    def admit(self, method: str, target: str, headers: HTTPHeaders) -> Route:
        """The route of one more request, or ``Refused``; the rate is taken from first, so that refused ones count."""
        if not self._rate.allow("", self._clock()):
            raise Refused("hub-api.rate", f"This session sends more than {RATE:.0f} Hub API requests a second.")
        for name in (*REQUEST_HEADERS, "Content-Type"):
            if len(headers.get_list(name)) > 1:
                raise Refused("hub-api.header", f"Header {name} stands more than once.")
        return allow(method, target, user=self.user, base_path=self.base_path)

    def note(self, error: Refused) -> None:
        """Count and log a refusal."""
        self.counters.count(error.rule)
        self._log.warning("Hub API request of %r refused [%s]: %s", self.user, error.rule, error.reason)
        self._refused(error)

    def note_away(self, error: HubAway) -> None:
        """Count and log that the hub gave no answer."""
        self.counters.count("hub-api.away")
        self._log.warning("Hub API request of %r not answered: %s", self.user, error.reason)

    def note_fault(self, error: BaseException) -> None:
        """Log a fault of our own."""
        self._log.error("BUG: a Hub API request of %r was dropped", self.user, exc_info=error)


class _Exchange(HTTPMessageDelegate):
    """One request and its answer."""

    def __init__(self, proxy: HubApiProxy, connection: HTTP1Connection) -> None:
        self._proxy = proxy
        self._connection = connection
        self._method = ""
        self._route: Route | None = None
        self._refused: Refused | None = None
        self._headers = HTTPHeaders()
        self._content_type = ""
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        if not isinstance(start_line, RequestStartLine):
            raise TypeError("BUG: a response where a request belongs")
        self._method = start_line.method
        try:
            self._route = self._proxy.admit(start_line.method, start_line.path, headers)
        except Refused as error:
            self._refused = error
            return
        self._content_type = headers.get("Content-Type", "")
        self._headers = HTTPHeaders({name: headers[name] for name in REQUEST_HEADERS if name in headers})

    def data_received(self, chunk: bytes) -> None:
        # One byte above the limit is kept for check_body to see; what else a refused body has is read and dropped.
        if self._refused is None:
            self._body += chunk[: BODY_LIMIT + 1 - len(self._body)]

    def finish(self) -> None:
        # From here on tornado tells of a closed connection by this callback, not by on_connection_close.
        self._connection.set_close_callback(self.on_connection_close)
        self._task = asyncio.ensure_future(self._answer())
        self._task.add_done_callback(self._answered)

    def on_connection_close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _answered(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._proxy.note_fault(error)
            self._connection.close()

    async def _answer(self) -> None:
        try:
            response = await self._forward()
        except Refused as error:
            self._proxy.note(error)
            status = HTTPStatus.TOO_MANY_REQUESTS if error.rule in _BUSY else HTTPStatus.FORBIDDEN
            self._write(status, HTTPHeaders(_JSON), json.dumps({"message": error.reason, "rule": error.rule}).encode())
        except HubAway as error:
            self._proxy.note_away(error)
            self._write(error.status, HTTPHeaders(_JSON), json.dumps({"message": error.reason}).encode())
        else:
            if self._route is not None and self._route.suffix == IDENTITY and response.code == HTTPStatus.OK:
                self._proxy.identified(response.body)
            kept = {name: response.headers[name] for name in RESPONSE_HEADERS if name in response.headers}
            self._write(response.code, HTTPHeaders(kept), response.body)

    async def _forward(self) -> HTTPResponse:
        if self._refused is not None or self._route is None:
            raise self._refused or RuntimeError("BUG: a request without a route was not refused")
        body = bytes(self._body)
        check_body(self._route, self._content_type, body, server=self._proxy.server)
        if self._route.content_types:
            self._headers["Content-Type"] = self._route.content_types[0]
        with self._proxy.under_way.place("hub-api.busy", f"More than {AT_ONCE} Hub API requests are under way."):
            return await self._proxy.upstream.fetch(self._route, self._headers, body)

    def _write(self, status: int, headers: HTTPHeaders, body: bytes) -> None:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        if status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(body))
        chunk = None if self._method == "HEAD" else body or None
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", status, phrase), headers, chunk)
        self._connection.finish()


_JSON = {"Content-Type": "application/json"}
_BUSY = ("hub-api.rate", "hub-api.busy")
