"""A stand-in for JupyterHub: its OAuth and its word on tokens, as ``HubOAuth`` asks for them, on a free port."""

import json
import secrets
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import url_concat
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

ACCESS = "access:services!service=hpcsec"


class StandInHub:
    """``people`` maps tokens to the models of ``GET /hub/api/user``; ``asked`` counts these questions.

    ``person`` gives a token; taking it out of ``people`` revokes it. ``visitor`` is who is logged in to the hub.
    """

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.is_down = False
        self.visitor = ""
        self.codes: dict[str, str] = {}
        self.service_token = secrets.token_hex(16)
        application = Application(
            [
                (r"/hub/api/user", _User, {"hub": self}),
                (r"/hub/api/oauth2/authorize", _Authorize, {"hub": self}),
                (r"/hub/api/oauth2/token", _Token, {"hub": self}),
            ]
        )
        self._server = HTTPServer(application)
        sockets = bind_sockets(0, "127.0.0.1")
        self._server.add_sockets(sockets)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    def person(self, name: str, *scopes: str, kind: str = "user", access: bool = True, **facts: Any) -> str:
        """A token of ``name`` that holds ``scopes``."""
        token = secrets.token_hex(16)
        self.people[token] = {
            "name": name,
            "kind": kind,
            "admin": False,
            "scopes": [*scopes, *([ACCESS] if access else [])],
            **facts,
        }
        return token

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class _Handler(RequestHandler):
    def initialize(self, hub: StandInHub) -> None:
        self.hub = hub

    def prepare(self) -> None:
        if self.hub.is_down:
            self.set_status(503)
            self.finish("{}")


class _User(_Handler):
    def get(self) -> None:
        self.hub.asked += 1
        token = self.request.headers["Authorization"].split()[1]
        if token not in self.hub.people:
            self.set_status(403)
            self.finish("{}")
        else:
            self.finish(json.dumps(self.hub.people[token]))


class _Authorize(_Handler):
    def get(self) -> None:
        code = secrets.token_hex(8)
        self.hub.codes[code] = self.hub.visitor
        uri = self.get_argument("redirect_uri")
        self.redirect(url_concat(uri, {"code": code, "state": self.get_argument("state")}))


class _Token(_Handler):
    def post(self) -> None:
        assert self.get_argument("client_secret") == self.hub.service_token
        token = self.hub.codes.pop(self.get_argument("code"), None)
        if token is None:
            self.set_status(400)
            self.finish("{}")
        else:
            self.finish(json.dumps({"access_token": token}))
