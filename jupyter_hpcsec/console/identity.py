"""Who reads: JupyterHub's word on a token, as a ``Reader``; and the scopes that the console knows.

A token comes in the service's own cookie (after the OAuth login) or in an ``Authorization`` header. The hub is asked,
its answer is believed for ``cache_s`` seconds at most, and not at all by what changes something.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError, RequestHandler

from jupyter_hpcsec.config_console import ConsoleSettings
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.consoleroles import ALERT, END, PROJECT, READ

SELF = "self"
"""No scope of the hub's: whoever is logged in, and then own records only."""

OURS = (READ, END, ALERT, PROJECT)
TOKEN_LIMIT = 256
LOGINS, ADDRESS_LIMIT = 5000, 4096
"""Logins that have begun and are remembered, and characters of the address that one leads back to: strangers begin as
many as they like. Beyond them the oldest is forgotten (it has to begin again), and the way back is the first page."""
_HEADER = re.compile(r"(?:token|bearer) +([A-Za-z0-9._~+/=-]{1,256})", re.IGNORECASE)


@dataclass(frozen=True)
class Reader:
    """Somebody of the hub's: the name, which of our scopes the token holds, whether the hub calls them an admin.

    ``groups`` are the hub's. ``by_token``: an ``Authorization`` header said so, which no other site can make a browser
    send.
    """

    name: str
    scopes: frozenset[str]
    admin: bool = False
    by_token: bool = False
    groups: frozenset[str] = frozenset()

    def may(self, scope: str) -> bool:
        """Whether a page of ``scope`` is for this reader."""
        return scope == SELF or scope in self.scopes


class _Auth(HubOAuth):
    """JupyterHub's, with a bound on what it remembers of logins."""

    def generate_state(self, next_url: str | None = None, **more: Any) -> str:
        """Remember one more."""
        while len(self._oauth_states) >= LOGINS:
            del self._oauth_states[next(iter(self._oauth_states.values))]
        is_short = len(next_url or "") <= ADDRESS_LIMIT
        return str(super().generate_state(next_url if is_short else self.base_url, **more))


def make_auth(settings: ConsoleSettings, api_token: str) -> HubOAuth:
    """The hub's client. Its settings are ours alone: nothing is taken from the environment."""
    return _Auth(
        api_url=settings.hub_api_url,
        api_token=api_token,
        base_url=settings.prefix,
        hub_prefix=settings.hub_prefix,
        hub_host="",
        oauth_client_id=settings.client_id,
        oauth_redirect_uri=f"{settings.prefix}oauth_callback",
        access_scopes={f"access:services!service={settings.client_id.removeprefix('service-')}"},
        cache_max_age=settings.cache_s,
        allow_token_in_url=False,
        cookie_host_prefix_enabled=False,
        cookie_options={},
        certfile="",
        keyfile="",
        client_ca="",
    )


class Door:
    """Says who a request is from."""

    def __init__(self, auth: HubOAuth) -> None:
        self.auth = auth

    async def who(self, handler: RequestHandler, *, anew: bool) -> Reader | None:
        """The reader; None where no token is sent. ``anew``: the hub is asked now, whatever it said before.

        ``Refused`` for a token that the hub does not know (any more), that is nobody's, or not for this service;
        ``Unavailable`` where the hub does not answer.
        """
        # 1. One token, from the header or else the cookie.
        header = handler.request.headers.get("Authorization")
        if header is not None:
            found = _HEADER.fullmatch(header)
            if not found:
                raise Refused("console.token", "The Authorization header must be `token TOKEN`.")
            token = found[1]
        else:
            cookie = handler.get_signed_cookie(self.auth.cookie_name)
            if cookie is None or len(cookie) > TOKEN_LIMIT:
                return None
            token = cookie.decode("ascii", "replace")
        # 2. The hub's word.
        model = await self._ask(handler, token, anew=anew)
        # 3. A person, and a token that is for this service.
        return self.reader(model, by_token=header is not None)

    async def _ask(self, handler: RequestHandler, token: str, *, anew: bool) -> Mapping[str, Any] | None:
        session_id = self.auth.get_session_id(handler)
        if anew:
            self.auth.cache.clear()  # and whoever comes next hears the new word, too
        try:
            model: Mapping[str, Any] | None = await self.auth.user_for_token(token, session_id=session_id, sync=False)
        except HTTPError as exc:
            raise Unavailable("JupyterHub does not say who you are now; try again in a moment.") from exc
        return model

    def reader(self, model: Mapping[str, Any] | None, *, by_token: bool) -> Reader:
        """The reader that the hub's model describes; ``Refused``."""
        if not model:
            raise Refused("console.stale-token", "Your login is over, or the token was revoked: log in again.")
        if model.get("kind") != "user" or not model.get("name"):
            raise Refused("console.not-a-person", "Only people read here: use the token of a user, not of a service.")
        if not self.auth.check_scopes(self.auth.access_scopes, model):
            raise Refused("console.access", "This token was not made for the security console.")
        scopes = frozenset(scope for scope in OURS if scope in model.get("scopes", ()))
        groups = frozenset(each for each in model.get("groups") or () if isinstance(each, str))
        return Reader(str(model["name"]), scopes, admin=bool(model.get("admin")), by_token=by_token, groups=groups)
