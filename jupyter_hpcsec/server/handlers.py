"""The extension's HTTP handlers, below ``/hpcsec/api``. Each asks who it is and whether they may."""

import json
import os
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.server.access_handlers import AccessHandler
from jupyter_hpcsec.server.events import tell
from jupyter_hpcsec.server.facts import read_facts
from jupyter_hpcsec.server.gpu_handlers import GpuHandler, GpuKeepHandler, GpuReleaseHandler, GpuStreamHandler
from jupyter_hpcsec.server.live import for_browser

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerWebApplication

RESOURCE = "hpcsec"
"""The name that an authorizer is asked about."""


class SessionHandler(APIHandler):
    """``GET /hpcsec/api/session``: user, server, session, job, node, ends_at, certificate_ends_at, stale, protections,
    recording, recorded, records: what JupyterLab asks for now and then (``live.for_browser``)."""

    auth_resource = RESOURCE
    _track_activity = False  # a panel that asks for the remaining time must not keep an idle server alive

    @web.authenticated
    @authorized("read", RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """The facts of this session; 404 outside of one, 500 with the reason when they can't be read."""
        try:
            facts = read_facts(os.environ)
            shown = for_browser(facts, os.environ) if facts else None
        except HpcsecError as error:
            raise web.HTTPError(500, reason="the facts of the session can't be read", log_message=str(error)) from error
        if shown is None:
            raise web.HTTPError(404, reason="not a session")
        await self.finish(json.dumps(shown))


def add_handlers(web_app: "ServerWebApplication") -> None:
    """Mount the handlers below the server's base URL."""
    api = url_path_join(web_app.settings["base_url"], "hpcsec", "api")
    handlers = [
        (f"{api}/session", SessionHandler),
        (f"{api}/access", AccessHandler),
        (f"{api}/gpu", GpuHandler),
        (f"{api}/gpu/stream", GpuStreamHandler),
        (f"{api}/gpu/keep", GpuKeepHandler, {"tell": tell}),
        (f"{api}/gpu/release", GpuReleaseHandler, {"tell": tell}),
    ]
    web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
