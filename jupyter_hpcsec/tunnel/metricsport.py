"""Where metrics are served: on the admin socket, and on the loopback where a site wants that. It knows none of them.

On the loopback nobody is asked who they are: what is served there may hold no name of a user, a job or a host.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tornado.httpclient import HTTPError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.routing import Matcher, PathMatches, Rule
from tornado.web import Application, RequestHandler

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel.front import listen_tcp
from jupyter_hpcsec.tunnel.unixhttp import unix_client

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BACKLOG = 16
LIMIT = 16 << 20

Render = Callable[[], Awaitable[bytes]]
"""``render()`` makes the page."""


class _Handler(RequestHandler):
    """``GET /metrics``."""

    def initialize(self, render: Render) -> None:
        self._render = render

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def get(self) -> None:
        page = await self._render()
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(page)


def route(render: Render) -> Rule:
    """The route of the metrics, for a server that has others."""
    matcher: Matcher = PathMatches(r"/metrics")
    return Rule(matcher, _Handler, {"render": render})


class MetricsServer:
    """Serves the metrics at ``host:port`` of the loopback; its settings have seen to that."""

    def __init__(self, endpoint: str, render: Render) -> None:
        self._listener = listen_tcp(endpoint, BACKLOG)
        application = Application([route(render)], log_function=lambda handler: None)
        self._server = HTTPServer(
            application, max_header_size=16 << 10, max_body_size=0, body_timeout=10, idle_connection_timeout=60
        )
        self._server.add_socket(self._listener)

    @property
    def port(self) -> int:
        """The port, where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, close what is open."""
        self._server.stop()
        await self._server.close_all_connections()


async def fetch(socket: Path, timeout_s: float = 30) -> str:
    """The metrics of the gateway at ``socket``; ``Unavailable`` with the way to mend it."""
    client = unix_client(socket, max_body_size=LIMIT)
    request = HTTPRequest("http://gateway/metrics", connect_timeout=timeout_s, request_timeout=timeout_s)
    try:
        response = await client.fetch(request)
    except (OSError, HTTPError) as exc:
        raise Unavailable(
            f"No gateway gives metrics at {socket} ({exc}): start it, name its admin socket in HPCSEC_ADMIN_SOCKET, or"
            " run this as the hub's user."
        ) from exc
    finally:
        client.close()
    return response.body.decode()
