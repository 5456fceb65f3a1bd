"""``/hpcsec/api/gpu``: what the session's kernels hold on GPUs, a stream of it, keeping and releasing; the owner's."""

import json
import os
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import iostream, web

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.kinds.gpu import GpuKept, GpuReleased
from jupyter_hpcsec.errors import HpcsecError, Refused
from jupyter_hpcsec.gpu.watch import Watch
from jupyter_hpcsec.server.facts import read_facts
from jupyter_hpcsec.server.gpu_watch import SETTING

RESOURCE = "hpcsec"
NO_GPU: dict[str, Any] = {"state": "none", "simulated": False, "devices": [], "kernels": [], "alerts": [], "blind": []}
"""The answer where there is no GPU to watch."""


class GpuHandler(APIHandler):
    """``GET``: everything that the panel shows (``gpu.panel``)."""

    auth_resource = RESOURCE
    _track_activity = False  # a panel must not keep an idle server alive

    def initialize(self, tell: Any = None) -> None:
        """``tell`` records an event."""
        self._tell = tell

    def owner_only(self) -> None:
        """403 for everybody but the session's user, whomever the Hub lets into the server; 404 outside of a session."""
        try:
            facts = read_facts(os.environ)
        except HpcsecError as error:
            raise web.HTTPError(500, reason="the facts of the session can't be read", log_message=str(error)) from error
        if facts is None:
            raise web.HTTPError(404, reason="not a session")
        user = self.current_user
        hub_user = getattr(user, "hub_user", {"kind": "user"})
        if user is None or user.username != facts.user or hub_user.get("kind") != "user":
            raise web.HTTPError(403, reason="only the session's user")

    @property
    def watch(self) -> Watch | None:
        """The running watch, None where there is no GPU."""
        return self.settings.get(SETTING)

    @web.authenticated
    @authorized("read", RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """200 with the panel; ``state`` is ``none`` where there is no GPU."""
        self.owner_only()
        await self.finish(json.dumps(self.watch.panel() if self.watch else NO_GPU))

    def _asked(self) -> tuple[Watch, str, dict[str, Any]]:
        """(watch, kernel id, body) of a request that changes something."""
        self.owner_only()
        if self.watch is None:
            raise web.HTTPError(404, reason="no GPU is watched here")
        body = self.get_json_body()
        if not isinstance(body, dict) or not isinstance(body.get("kernel"), str):
            raise web.HTTPError(400, reason="the body has to be an object that names a kernel")
        if body["kernel"] not in self.kernel_manager:
            raise web.HTTPError(404, reason="there is no such kernel in this session")
        return self.watch, body["kernel"], body


class GpuStreamHandler(GpuHandler):
    """``GET``: server-sent events; one ``panel`` now and one after each sample."""

    @web.authenticated
    @authorized("read", RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """A ``text/event-stream`` without an end."""
        self.owner_only()
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        if self.watch is None:
            await self.finish(f"event: panel\ndata: {json.dumps(NO_GPU)}\n\n")
            return
        try:
            while True:
                self.write(f"event: panel\ndata: {json.dumps(self.watch.panel())}\n\n")
                await self.flush()
                await self.watch.changed()
        except iostream.StreamClosedError:
            return


class GpuKeepHandler(GpuHandler):
    """``POST {"kernel": ID, "minutes": N}``: extend that kernel's idle limit."""

    @web.authenticated
    @authorized("write", RESOURCE)  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """200 with ``kept_s``; 400 and 403 say why not."""
        watch, kernel, body = self._asked()
        minutes = body.get("minutes")
        if type(minutes) is not int:
            raise web.HTTPError(400, reason="minutes has to be a whole number")
        try:
            kept_s = watch.keep(kernel, minutes)
        except Refused as refusal:
            raise web.HTTPError(403, refusal.reason, reason=refusal.reason) from refusal
        self._record(GpuKept(kernel=kernel, minutes=minutes))
        await self.finish(json.dumps({"kernel": kernel, "kept_s": kept_s}))

    def _record(self, event: Event) -> None:
        if self._tell is not None:
            self._tell(event)


class GpuReleaseHandler(GpuKeepHandler):
    """``POST {"kernel": ID, "confirm": ID}``: restart a kernel, which loses its variables and frees its GPU memory."""

    @web.authenticated
    @authorized("execute", RESOURCE)  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """200 when it was restarted; 400 without the confirmation."""
        _, kernel, body = self._asked()
        if body.get("confirm") != kernel:
            raise web.HTTPError(400, reason="restarting loses the kernel's variables: confirm with its id")
        self._record(GpuReleased(kernel=kernel, reason="the user released it"))
        await self.kernel_manager.restart_kernel(kernel)  # type: ignore[no-untyped-call]
        await self.finish(json.dumps({"kernel": kernel, "released": True}))
