"""``hpcsec console`` as a process: reads its configuration, listens for JupyterHub's proxy, serves until told to stop.

It runs as the gateway's user, who alone may read the record. The hub may start it as a managed service, or systemd may.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import stat
import sys
from pathlib import Path
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from traitlets import TraitError

from jupyter_hpcsec.audit.kinds.console import ConsoleRefused
from jupyter_hpcsec.config_console import ConsoleSettings, HpcsecConsole
from jupyter_hpcsec.console import templating
from jupyter_hpcsec.console.desk import Desk
from jupyter_hpcsec.console.identity import Door, make_auth
from jupyter_hpcsec.console.page import NotFound
from jupyter_hpcsec.console.peers import uid_of
from jupyter_hpcsec.console.routes import NAV, rules
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.configfile import load

LOOPBACK = "127.0.0.1"
TOKEN_VARIABLE = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - a name
BODY_LIMIT = 1 << 20
HEAD_LIMIT = 16 << 10


def load_settings(path: Path) -> ConsoleSettings:
    """The settings in a configuration file; ``Malformed`` names what is wrong with it."""
    try:
        return load(path, HpcsecConsole).settings()
    except TraitError as exc:
        raise Malformed(f"{path}: {exc}") from exc


def api_token(settings: ConsoleSettings) -> str:
    """The service's own token: from its file, which others may not read, or from the hub that started us."""
    path = settings.api_token_file
    if path is None:
        token = os.environ.pop(TOKEN_VARIABLE, "")
        if not token:
            raise Malformed(f"no token: set c.HpcsecConsole.api_token_file, or let the hub start it ({TOKEN_VARIABLE})")
        return token
    try:
        facts = path.stat()
        if facts.st_uid not in (0, os.geteuid()) or stat.S_IMODE(facts.st_mode) & 0o077:
            raise Refused("console.token-file", f"others may read {path}: chmod 600, owned by the console's user")
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise Unavailable(f"the service's token can't be read: {exc}") from exc


def make_app(settings: ConsoleSettings, auth: HubOAuth, desk: Desk) -> Application:
    """The console as a tornado application. Cookies are void after a restart: then the hub says who it is again."""
    return Application(
        rules(settings.prefix),
        default_handler_class=NotFound,
        desk=desk,
        door=Door(auth),
        nav=NAV,
        templates=templating.environment(),
        cookie_secret=secrets.token_bytes(32),
        log_function=log_request,
        xsrf_cookie_kwargs={"path": settings.prefix},
    )


def log_request(handler: RequestHandler) -> None:
    """One line without the query, which may hold an OAuth code, or what somebody looks for."""
    request = handler.request
    level = logging.INFO if handler.get_status() < 500 else logging.ERROR
    line = "%s %s from %s: %d in %.0f ms"
    facts = (request.method, request.path, request.remote_ip, handler.get_status(), 1000 * request.request_time())
    logging.getLogger("hpcsec.console").log(level, line, *facts)


class Server(HTTPServer):
    """Closes, before reading from it, what another process than JupyterHub's proxy (or the hub) connects."""

    def initialize(self, application: Application, *, settings: ConsoleSettings, desk: Desk) -> None:  # type: ignore[override]
        """Tornado's, with limits. ``X-Forwarded-For`` is believed: only the proxy gets this far."""
        self._settings, self._desk = settings, desk
        super().initialize(
            application,
            xheaders=True,
            trusted_downstream=list(settings.trusted_proxies),
            max_header_size=HEAD_LIMIT,
            max_body_size=BODY_LIMIT,
            max_buffer_size=BODY_LIMIT + HEAD_LIMIT,
            body_timeout=30,
            idle_connection_timeout=120,
        )

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """One connection."""
        try:
            uid = uid_of(address[:2], stream.socket.getsockname()[:2])
            if uid not in self._settings.peer_uids:
                raise Refused("console.peer", f"a process of uid {uid} may not connect: it is not JupyterHub's proxy")
        except (HpcsecError, OSError) as error:
            self._desk.log.warning("connection closed: %s", error)
            rule = error.rule if isinstance(error, Refused) else "console.peer"
            self._desk.note(ConsoleRefused(decision="refused", rule=rule, reason=str(error)))
            stream.close()
            return
        super().handle_stream(stream, address)


@contextlib.asynccontextmanager
async def serving(settings: ConsoleSettings, token: str, log: logging.Logger) -> Any:
    """The console, as long as the context is open; gives its port."""
    desk = Desk(settings, log)
    server = Server(make_app(settings, make_auth(settings, token), desk), settings=settings, desk=desk)
    following = asyncio.create_task(desk.record.follow(log))
    try:
        sockets = bind_sockets(settings.port, LOOPBACK)
        server.add_sockets(sockets)
        yield sockets[0].getsockname()[1]
    except OSError as exc:
        raise Unavailable(f"the console can't listen at {LOOPBACK}:{settings.port}: {exc}") from exc
    finally:
        following.cancel()
        await asyncio.wait({following})
        server.stop()
        await server.close_all_connections()
        await desk.close()


async def serve(settings: ConsoleSettings, token: str, log: logging.Logger) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings, token, log) as port:
        log.info("the console listens at %s:%d for %s", LOOPBACK, port, settings.prefix)
        await stop.wait()


def run(config: Path) -> int:
    """Load the configuration and serve; the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("tornado.application").setLevel(logging.WARNING)  # JupyterHub's part tells of each cookie
    settings = load_settings(config)
    asyncio.run(serve(settings, api_token(settings), logging.getLogger("hpcsec.console")))
    return 0
