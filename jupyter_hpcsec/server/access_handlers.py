"""``GET /hpcsec/api/access``: what the user may do in this session, for a panel, a notebook or ``curl``."""

import json
import os

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.server.access_facts import read_access

RESOURCE = "hpcsec"
"""The name that an authorizer is asked about."""


class AccessHandler(APIHandler):
    """The user's rules, in plain words too; the receipt; whether the session is stale."""

    auth_resource = RESOURCE
    _track_activity = False  # a panel that asks whether the session is stale must not keep an idle server alive

    @web.authenticated
    @authorized("read", RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """The facts (``access_facts.read_access``); 404 outside of a session, 500 when they can't be read."""
        try:
            facts = read_access(os.environ)
        except HpcsecError as error:
            raise web.HTTPError(500, reason="the rules of the session can't be read", log_message=str(error)) from error
        if facts is None:
            raise web.HTTPError(404, reason="not a session")
        await self.finish(json.dumps(facts))
