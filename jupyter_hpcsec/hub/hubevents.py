"""JupyterHub's own events on the record: logins, logouts, tokens, shares, servers, access to other people's servers.

JupyterHub's event log knows of servers that were started and stopped; the rest is told from the methods that all of
its handlers share, which are wrapped once, as for the logout (``logout``). A hub that is configured with another
spawner has no gateway to tell: there nothing changes.

A login, a start of a server and access to somebody else's server are on record before they are granted: where that
fails they are refused, with a sentence.
"""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jupyterhub.apihandlers import shares, users
from jupyterhub.apihandlers.auth import OAuthAuthorizeHandler
from jupyterhub.app import JupyterHub
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from tornado import web

from jupyter_hpcsec.audit.events import Event, Object, Subject
from jupyter_hpcsec.audit.kinds.hub import (
    HubAdminAccess,
    HubLogin,
    HubLoginRefused,
    HubLogout,
    HubServer,
    HubShare,
    HubToken,
)
from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.errors import HpcsecError, Malformed
from jupyter_hpcsec.hub.hubteller import HubTeller, teller_for
from jupyter_hpcsec.hub.mixin import HpcsecSpawnerMixin

SCHEMA = "https://schema.jupyter.org/jupyterhub/events/server-action"
TRUSTED_PROXIES = ("127.0.0.1", "::1", "0.0.0.0", "")  # noqa: S104 - what tornado says of a unix socket's peer
"""Peers whose ``X-Forwarded-For`` is believed: the proxy, on this host."""
NOT_RECORDED = "This can't be recorded at the moment, so it can't be done. Try again in a minute, or ask for help."

CHANGES: tuple[tuple[type[Any], dict[str, str], type[HubToken] | type[HubShare]], ...] = (
    (users.UserTokenListAPIHandler, {"POST": "create"}, HubToken),
    (users.UserTokenAPIHandler, {"DELETE": "revoke"}, HubToken),
    (shares.UserShareAPIHandler, {"DELETE": "leave"}, HubShare),
    (shares.GroupShareAPIHandler, {"DELETE": "leave"}, HubShare),
    (shares.ServerShareAPIHandler, {"POST": "grant", "PATCH": "revoke", "DELETE": "revoke-all"}, HubShare),
    (shares.ServerShareCodeAPIHandler, {"POST": "code", "DELETE": "revoke-code"}, HubShare),
)
"""The API's handlers that change who may do what, by method."""


def admin_socket(config: Any, spawner_class: type[Any]) -> Path:
    """Where the spawner is configured to find the gateway: the most specific of its classes wins, as in traitlets."""
    for each in spawner_class.mro():
        if each.__name__ in config and "admin_socket" in config[each.__name__]:
            return Path(str(config[each.__name__]["admin_socket"]))
    return Path(DEFAULT_ADMIN_SOCKET)


def source_of(handler: Any) -> str:
    """The browser's address, by the proxy's word if it is our proxy's: tornado has read it from the header."""
    context = getattr(handler.request.connection, "context", None)
    peer = getattr(context, "_orig_remote_ip", handler.request.remote_ip)
    return str(handler.request.remote_ip if peer in TRUSTED_PROXIES else peer)


def asking(handler: Any) -> str:
    """Who makes this request, by name; a service has one, too."""
    return str(getattr(handler.current_user, "name", "") or "")


def is_ours(spawner_class: type[Any]) -> bool:
    """Whether a hub with this spawner has a gateway."""
    return issubclass(spawner_class, HpcsecSpawnerMixin)


def teller_of(handler: Any) -> HubTeller:
    """The way to the gateway."""
    return teller_for(admin_socket(handler.config, handler.settings["spawner_class"]))


def acting(handler: Any, owner: str) -> Subject:
    """What is done to ``owner``'s things, and by whom if that is another."""
    name = asking(handler)
    return Subject(user=owner, impersonator=name if name != owner else "")


async def keep(handler: Any, event: Event) -> None:
    """On record, or 503."""
    try:
        await teller_of(handler).keep(event)
    except HpcsecError as error:
        handler.log.warning("refused, since it can't be recorded: %s", error)
        message = error.reason if isinstance(error, Malformed) else NOT_RECORDED
        if handler.current_user and not isinstance(error, Malformed):  # who has not logged in need not know more
            message += f" ({error.reason})"
        raise web.HTTPError(503, message, reason="not recorded") from error


def wrap(owner: type[Any], name: str, around: Callable[..., Awaitable[Any]]) -> None:
    """Put ``around(original, self, …)`` in place of a method, once."""
    original = getattr(owner, name)
    if getattr(original, "tells_hpcsec", False):
        return

    @functools.wraps(original)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_ours(self.settings["spawner_class"]):
            return await original(self, *args, **kwargs)
        return await around(original, self, *args, **kwargs)

    method.tells_hpcsec = True  # type: ignore[attr-defined]
    setattr(owner, name, method)


async def _login_user(original: Any, self: Any, data: Any = None) -> Any:
    """Everybody who logs in comes by here. The session's cookie is set within, after ``auth_to_user``."""
    typed = data.get("username", "") if isinstance(data, dict) else ""
    self._hpcsec_login = str(typed)
    try:
        user = await original(self, data)
    except Exception as error:
        if not getattr(self, "_hpcsec_recorded", False):
            reason = error.reason if isinstance(error, HpcsecError) else str(getattr(error, "log_message", "") or "")
            _tell_refused(self, getattr(error, "rule", "login.error"), reason)
        raise
    if user is None:
        _tell_refused(self, "login.credentials", "name or password are wrong, or the account may not log in")
    return user


def _tell_refused(handler: Any, rule: str, reason: str) -> None:
    login = handler._hpcsec_login
    event = HubLoginRefused(
        subject=Subject(login=login), source=source_of(handler), decision="refused", rule=rule, reason=reason
    )
    teller_of(handler).note(event)


async def _auth_to_user(original: Any, self: Any, authenticated: Any, user: Any = None) -> Any:
    """From who somebody is to the hub's user: at a login, before the cookie that it is about."""
    found = await original(self, authenticated, user)
    if user is None and hasattr(self, "_hpcsec_login") and found is not None:
        login = self._hpcsec_login or found.name
        event = HubLogin(subject=Subject(login=login, user=found.name), source=source_of(self), decision="allowed")
        self._hpcsec_recorded = True  # or refused for that reason, which is no failed login
        await keep(self, event)
    return found


async def _handle_logout(original: Any, self: Any) -> Any:
    name = asking(self)
    if name:
        teller_of(self).note(HubLogout(subject=Subject(user=name), source=source_of(self)))
    return await original(self)


async def _spawn(original: Any, self: Any, user: Any, server_name: str = "", *args: Any, **kwargs: Any) -> Any:
    event = HubServer(action="start", subject=acting(self, user.name), server=server_name, source=source_of(self))
    await keep(self, event)  # one that fails is told by the spawner itself, which knows why
    return await original(self, user, server_name, *args, **kwargs)


async def _stop(original: Any, self: Any, user: Any, server_name: str = "") -> Any:
    event = HubServer(action="stop", subject=acting(self, user.name), server=server_name, source=source_of(self))
    teller_of(self).note(event)
    return await original(self, user, server_name)


async def _authorize(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A browser asks for a token for a server: its owner's, or one for somebody else."""
    client = self.oauth_provider.fetch_by_client_id(self.get_argument("client_id", ""))
    spawner = client.spawner if client else None
    owner = str(spawner.user.name) if spawner is not None else ""
    if spawner is not None and self.current_user and asking(self) != owner:
        is_allowed = self.get_scope_filter("access:servers")(spawner, kind="server")
        event = HubAdminAccess(
            subject=acting(self, owner), server=spawner.name, source=source_of(self),
            decision="allowed" if is_allowed else "refused", rule="access:servers",
        )  # fmt: skip
        await keep(self, event)
    return await original(self, *args, **kwargs)


def _on_finish(owner: type[Any], actions: dict[str, str], kind: type[HubToken] | type[HubShare]) -> None:
    """Tell what a request changed, or was refused to change, once it is answered."""
    original = owner.on_finish
    if getattr(original, "tells_hpcsec", False) is owner:
        return

    def on_finish(self: Any) -> None:
        action = actions.get(self.request.method)
        if action and is_ours(self.settings["spawner_class"]):
            is_done = self.get_status() < 400
            names = [*self.path_kwargs.values(), *self.path_args]
            event = kind(
                action=action, subject=acting(self, str(names[0]) if names else ""), source=source_of(self),
                object=Object(type="url", name=self.request.path), decision="allowed" if is_done else "refused",
                reason="" if is_done else f"HTTP status {self.get_status()}",
            )  # fmt: skip
            teller_of(self).note(event)
        original(self)

    on_finish.tells_hpcsec = owner  # type: ignore[attr-defined]
    owner.on_finish = on_finish


def _listen_to_event_log(original: Callable[[Any], None], app: Any) -> None:
    """JupyterHub's own events: a server that was started or stopped."""
    original(app)
    if not is_ours(app.spawner_class):
        return

    async def heard(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        action = {"start": "started", "stop": "stopped"}.get(data["action"], "")
        event = HubServer(action=action, subject=Subject(user=data["username"]), server=data["servername"])
        teller_for(admin_socket(app.config, app.spawner_class)).note(event)

    app.eventlog.add_listener(schema_id=SCHEMA, listener=heard)


def install() -> None:
    """Have all of it told; a second call changes nothing."""
    wrap(BaseHandler, "login_user", _login_user)
    wrap(BaseHandler, "auth_to_user", _auth_to_user)
    wrap(LogoutHandler, "default_handle_logout", _handle_logout)
    wrap(BaseHandler, "spawn_single_user", _spawn)
    wrap(BaseHandler, "stop_single_user", _stop)
    for name in ("get", "post"):
        wrap(OAuthAuthorizeHandler, name, _authorize)
    for owner, actions, kind in CHANGES:
        _on_finish(owner, actions, kind)
    original = JupyterHub.init_eventlog
    if not getattr(original, "tells_hpcsec", False):

        @functools.wraps(original)
        def init_eventlog(self: Any) -> None:
            _listen_to_event_log(original, self)

        init_eventlog.tells_hpcsec = True  # type: ignore[attr-defined]
        JupyterHub.init_eventlog = init_eventlog
