"""The gateway's admin API on a unix socket: what spawner, command line and doctor may ask of it.

Who may ask is decided before a byte is read, by the kernel's word on the peer (``SO_PEERCRED``). The server checks
the form of each call and hands it to an ``AdminControl``; it holds no state of sessions and decides nothing about them.
"""

import asyncio
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.httpclient import HTTPError, HTTPRequest
from tornado.routing import Rule
from tornado.simple_httpclient import HTTPTimeoutError
from tornado.web import Application, RequestHandler

from jupyter_hpcsec.audit.events import Event, Subject
from jupyter_hpcsec.audit.kinds.gateway import AdminRefused
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.tunnel.admincontrol import AdminControl
from jupyter_hpcsec.tunnel.adminwire import (
    BODY_LIMIT,
    CALLS,
    WAIT_LIMIT_S,
    Registration,
    error_from_json,
    error_to_json,
    parse_arguments,
)
from jupyter_hpcsec.tunnel.limits import Counters
from jupyter_hpcsec.tunnel.observer import CALLER, UNOBSERVED, Observer
from jupyter_hpcsec.tunnel.peer import PeerCredentials, bind_unix
from jupyter_hpcsec.tunnel.peerserver import PeerCheckedServer
from jupyter_hpcsec.tunnel.projectcalls import ProjectCalls
from jupyter_hpcsec.tunnel.session import By, Progress
from jupyter_hpcsec.tunnel.sessionpage import SessionQuestion
from jupyter_hpcsec.tunnel.unixhttp import unix_client

__all__ = ["AdminClient", "AdminControl", "AdminServer", "Registration"]

log = logging.getLogger(__name__)


RETAIN_S = 3600.0
"""Seconds for which a removal from the audit record is waited for."""
RESPONSE_LIMIT = 64 << 20
"""Bytes that a client takes: the list of 10,000 sessions is about 6 MiB."""


# -- server ---------------------------------------------------------------------------------------------------------


class _CallHandler(RequestHandler):
    """``POST /v1/NAME``."""

    def initialize(self, control: AdminControl, counters: Counters, observer: Observer) -> None:
        self._observer = observer
        self._control = control
        self._counters = counters
        self._running: asyncio.Future[Any] | None = None

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")

    async def post(self, name: str) -> None:
        try:
            if name not in CALLS:
                raise Malformed(f"There is no admin call {name[:40]!r}; client and gateway differ in version.")
            if self.request.headers.get("Content-Type") != "application/json" or self.request.query:
                raise Malformed("A call is one JSON object of type application/json, without a query.")
            arguments = parse_arguments(name, self.request.body)
            CALLER.set(self._peer())
            self._running = asyncio.ensure_future(getattr(self._control, name)(**arguments))
            result = await self._running
        except HpcsecError as error:
            status, body = error_to_json(error)
            rule = getattr(error, "rule", f"admin.{body['error']}")
            self._counters.count(rule)
            who = Subject(account=self._peer().account)
            event = AdminRefused(call=name, subject=who, decision="refused", rule=rule, reason=error.reason)
            self._observer.note(event)
            self.set_status(status)
            self.finish(json.dumps(body))
        except asyncio.CancelledError:
            # The client went away from its long poll; nobody is left to answer.
            if self._running is None or not self._running.cancelled():
                raise
        else:
            self.finish(json.dumps(CALLS[name].encode(result)))

    def _peer(self) -> PeerCredentials:
        connection = self.request.connection
        address = getattr(connection.context, "address", None) if isinstance(connection, HTTP1Connection) else None
        match address:
            case (PeerCredentials() as peer,):
                return peer
        raise TypeError("BUG: an admin call whose peer was not looked at")

    def on_connection_close(self) -> None:
        # Only a long poll is cut short; what changes something is finished, asked for or not.
        if self._running is not None and self.request.path in ("/v1/wait", "/v1/endings"):
            self._running.cancel()

    def write_error(self, status_code: int, **_facts: Any) -> None:
        known = {404: "Only POST /v1/CALL is answered.", 405: "Only POST /v1/CALL is answered."}
        reason = known.get(status_code, "The gateway failed; its log says why.")
        self.finish(json.dumps({"error": "failed", "reason": reason}))


class _NotFoundHandler(_CallHandler):
    def prepare(self) -> None:
        self.send_error(404)


def _log_call(handler: RequestHandler) -> None:
    request = handler.request
    level = logging.INFO if handler.get_status() < 400 else logging.WARNING
    log.log(level, "Admin call %s: %d in %.0f ms", request.path, handler.get_status(), 1000 * request.request_time())


class AdminServer:
    """Serves ``control`` to the processes of ``allowed_uids``. Root is not among them unless named.

    ``counters`` counts refusals by rule: ``admin.peer``, ``admin.connections``, and the rules of refused calls.
    ``routes`` are served beside the calls, to the same processes.
    """

    def __init__(
        self,
        control: AdminControl,
        *,
        allowed_uids: Collection[int],
        counters: Counters | None = None,
        observer: Observer = UNOBSERVED,
        routes: Sequence[Rule] = (),
    ) -> None:
        self.counters = Counters() if counters is None else counters
        given = {"control": control, "counters": self.counters, "observer": observer}
        application = Application(
            [*routes, (r"/v1/([a-z_]{1,40})", _CallHandler, given)],
            default_handler_class=_NotFoundHandler,
            default_handler_args=given,
            log_function=_log_call,
        )
        self._server = PeerCheckedServer(
            application,
            allowed_uids=frozenset(allowed_uids),
            counters=self.counters,
            observer=observer,
            max_header_size=16 << 10,
            max_body_size=BODY_LIMIT,
            max_buffer_size=BODY_LIMIT + (64 << 10),
            body_timeout=30,
            idle_connection_timeout=60,
        )
        self._path: Path | None = None

    def listen(self, path: Path, *, mode: int = 0o600, group: int | None = None) -> None:
        """Listen at ``path``; as ``peer.bind_unix`` it refuses a living socket and replaces a dead one."""
        self._server.add_socket(bind_unix(path, mode, group))
        self._path = path

    async def stop(self) -> None:
        """Stop listening, take the socket away, close what is open."""
        self._server.stop()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        await self._server.close_all_connections()


# -- client ---------------------------------------------------------------------------------------------------------


class AdminClient(ProjectCalls):
    """Asks the gateway at ``socket``. Each call is its own connection, so that a restarted gateway is no matter.

    Every method raises ``Unavailable`` where no gateway answers within ``timeout_s`` seconds, with the way to mend it,
    and ``Refused`` or ``Malformed`` as the gateway did.
    """

    def __init__(self, socket: Path, timeout_s: float = 10) -> None:
        self._socket = socket
        self._timeout_s = timeout_s

    async def register(
        self,
        *,
        user: str,
        server: str,
        uid: int,
        lifetime_s: int,
        launch: Mapping[str, Any],
        home: str,
        groups: Sequence[str] = (),
        project: str = "",
    ) -> Registration:
        """Make a waiting session of at most ``lifetime_s`` seconds; ``launch`` is ``{argv, env, base_url}``.

        ``groups``, ``project`` and ``home`` are what the policy is asked about; ``Refused`` when it gives no access.
        """
        arguments = {
            "user": user,
            "server": server,
            "uid": uid,
            "lifetime_s": lifetime_s,
            "launch": dict(launch),
            "groups": list(groups),
            "project": project,
            "home": home,
        }
        return Registration.from_json(await self._call("register", arguments))

    async def bind_job(self, session: str, job_id: str) -> None:
        """Bind the session to the batch system's job; ``Refused`` when it is bound to another."""
        await self._call("bind_job", {"session": session, "job_id": job_id})

    async def show(self, session: str) -> dict[str, Any]:
        """One session's fields and counters."""
        return dict(await self._call("show", {"session": session}))

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        """Steps after ``after``; [] when none came in time (at most ``WAIT_LIMIT_S`` seconds): ask again."""
        held = min(timeout_s, float(WAIT_LIMIT_S))
        steps = await self._call("wait", {"session": session, "after": after, "timeout_s": held}, held_s=held)
        return [Progress(**step) for step in steps]

    async def end(self, session: str, reason: str, by: By = "staff", on_behalf: str = "") -> None:
        """End the session, revoke its certificates and cut its lanes; an ended one stays as it is.

        ``by`` is what its user reads of who did it; ``on_behalf``: the person of the hub whose order it is, taken from
        the gateway's own user alone (the console).
        """
        await self._call("end", {"session": session, "reason": reason, "by": by, "on_behalf": on_behalf})

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        """Sessions that ended after number ``after`` of the gateway's start ``boot``; see ``endings.Endings``."""
        held = min(timeout_s, float(WAIT_LIMIT_S))
        return dict(await self._call("endings", {"boot": boot, "after": after, "timeout_s": held}, held_s=held))

    async def cut(self, session: str, reason: str) -> None:
        """Cut the session's open connections; its job, kernels and certificate stay, and it can be reached anew."""
        await self._call("cut", {"session": session, "reason": reason})

    async def sessions(self) -> list[dict[str, Any]]:
        """All sessions that have not ended."""
        return list(await self._call("sessions", {}))

    async def session_page(self, asked: SessionQuestion) -> dict[str, Any]:
        """One page of them: ``sessions`` (as ``show``), ``total`` of all pages, ``more`` if another follows."""
        return dict(await self._call("session_page", asdict(asked)))

    async def status(self) -> dict[str, Any]:
        """The gateway's own facts and counters."""
        return dict(await self._call("status", {}))

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        """Make a new current key of ``kind`` (``token``, ``authority``, ``all``); returns all keys."""
        return list(await self._call("rotate", {"kind": kind}))

    async def drop_tokens(self) -> list[dict[str, Any]]:
        """Drop all token keys but a new one; returns the sessions (as ``show``) that lost their tokens and ended."""
        return list(await self._call("drop_tokens", {}))

    async def keys(self) -> list[dict[str, Any]]:
        """All keys, without what is secret of them."""
        return list(await self._call("keys", {}))

    async def audit_read(
        self,
        *,
        action: str,
        query: str,
        found: int,
        with_values: bool = False,
        leaf: int = 0,
        name: str = "",
        on_behalf: str = "",
    ) -> None:
        """Have it recorded that somebody reads the record, before they do; ``shred`` destroys a value of ``leaf``."""
        asked = {"action": action, "query": query, "found": found, "with_values": with_values}
        await self._call("audit_read", asked | {"leaf": leaf, "name": name, "on_behalf": on_behalf})

    async def hub_event(self, event: Event) -> None:
        """Have an event of the hub recorded; durable when this returns."""
        await self._call("hub_event", {"event": msgspec.to_builtins(event)})

    async def policy(self) -> dict[str, Any]:
        """The access policy as the gateway has it: ``{file, digest, error, unsafe, text, recording, people, more}``.

        ``people`` are those with a session now or within the store's retention (30 days), each with what the policy was
        asked about: ``{user, uid, gid, home, groups, project, active, created_at}``; ``more``: some were left out.
        """
        return dict(await self._call("policy", {}))

    async def console_event(self, event: Event, on_behalf: str = "", note: str = "") -> None:
        """Have an event of the console recorded; a refusal in its turn, everything else durably before this returns.

        A ``note`` that somebody wrote is sealed beside the event.
        """
        told = {"event": msgspec.to_builtins(event), "on_behalf": on_behalf, "note": note}
        await self._call("console_event", told)

    async def audit_retain(self, *, events_days: int, values_days: int) -> dict[str, int]:
        """Remove events and sealed values older than so many days (0: none); where what remains begins."""
        days = {"events_days": events_days, "values_days": values_days}
        return dict(await self._call("audit_retain", days, held_s=RETAIN_S))

    async def _call(self, name: str, arguments: Mapping[str, Any], *, held_s: float = 0) -> Any:
        request = HTTPRequest(
            f"http://gateway/v1/{name}",
            method="POST",
            body=json.dumps(dict(arguments)),
            headers={"Content-Type": "application/json"},
            connect_timeout=self._timeout_s,
            request_timeout=self._timeout_s + held_s,
            follow_redirects=False,
        )
        client = unix_client(self._socket, max_body_size=RESPONSE_LIMIT)
        try:
            response = await client.fetch(request, raise_error=False)
        except (OSError, HTTPError) as exc:
            raise Unavailable(self._why(exc)) from exc
        finally:
            client.close()
        try:
            value = json.loads(response.body)
        except ValueError as exc:
            raise error_from_json(None) from exc
        if response.code != 200:
            raise error_from_json(value)
        return value

    def _why(self, exc: Exception) -> str:
        """A failed connection as a sentence that says what to do."""
        cause = getattr(exc, "real_error", None) or exc
        start = "start it with `systemctl start hpcsec-gateway` or `hpcsec gateway --config FILE`"
        match cause:
            case FileNotFoundError():
                return f"No gateway runs at {self._socket}: {start}, or name its admin socket in HPCSEC_ADMIN_SOCKET."
            case ConnectionRefusedError():
                return f"The gateway that made {self._socket} is gone: {start}."
            case PermissionError():
                return f"Uid {os.geteuid()} may not use {self._socket}: ask an administrator, or run as the hub's user."
            case HTTPTimeoutError():
                return f"The gateway at {self._socket} did not answer in time; look at its log."
            case _:
                return (
                    f"The gateway at {self._socket} closed the connection: either uid {os.geteuid()} is not among its "
                    "admin users, or it stopped; its log says which."
                )
