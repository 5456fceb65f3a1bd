"""A gateway without TLS, keys or agents: the real admin API on a real socket, and a notebook server of three lines.

Sessions and their sockets live as long as the process; a test moves them from state to state. ``python -m
tests.hub.gateway_double DIRECTORY`` runs one beside a hub; its sessions survive in ``DIRECTORY/sessions.json``.
"""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.admin import AdminServer, Registration
from jupyter_hpcsec.tunnel.endings import Endings
from jupyter_hpcsec.tunnel.session import Progress


class _Notebook(RequestHandler):
    def initialize(self, user: str) -> None:
        self._user = user

    def get(self) -> None:
        self.set_header("X-JupyterHub-Version", "6.1.1")
        self.finish({"user": self._user, "path": self.request.path})


class GatewayDouble:
    """``AdminControl`` over dictionaries. ``answers`` says whether session sockets have a server behind them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sessions_by_id: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, list[Progress]] = {}
        self.changed = asyncio.Event()
        self.ends = Endings()
        self.refuse_bind = False
        self.refusal: Refused | None = None
        self.calls: list[str] = []
        self.offer: dict[str, Any] = {"mode": "off", "office": "your administrators", "projects": []}
        self._servers: dict[str, HTTPServer] = {}

    async def hub_event(self, *, event: dict[str, Any]) -> None:
        """Keep it, for tests to read."""
        with (self.directory / "hub-events.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")

    # what tests do

    @property
    def only(self) -> dict[str, Any]:
        """The one session there is."""
        (session,) = self.sessions_by_id.values()
        return session

    def step(self, state: str, message: str = "", session: str = "") -> None:
        """Move a session on."""
        identifier = session or str(self.only["id"])
        self.sessions_by_id[identifier]["state"] = state
        if state == "ended":
            self.sessions_by_id[identifier]["reason"] = message
            self.ends.add(identifier, message, "staff")
        steps = self.steps.setdefault(identifier, [])
        steps.append(Progress(len(steps) + 1, 0, state, message))
        self._wake()

    def serve(self, session: str = "") -> None:
        """Put a server behind a session's socket."""
        facts = self.sessions_by_id[session] if session else self.only
        server = HTTPServer(Application([(r".*", _Notebook, {"user": facts["user"]})]))
        server.add_socket(bind_unix_socket(facts["socket"], mode=0o600))
        self._servers[facts["id"]] = server

    async def close(self) -> None:
        """Take the sockets away, and the connections that a poll has left open."""
        while self._servers:
            _, server = self._servers.popitem()
            await _stop(server)

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def _known(self, session: str) -> dict[str, Any]:
        if session not in self.sessions_by_id:
            raise Refused("session.unknown", "There is no such session.")
        return self.sessions_by_id[session]

    # what the hub asks

    async def register(
        self, *, user: str, server: str, uid: int, lifetime_s: int, launch: Mapping[str, Any], **person: Any
    ) -> Registration:
        if self.refusal:
            raise self.refusal
        self.calls.append("register")
        identifier = secrets.token_hex(16)
        self.sessions_by_id[identifier] = {
            "id": identifier,
            "user": user,
            "server": server,
            "uid": uid,
            "lifetime_s": lifetime_s,
            "launch": dict(launch),
            **person,
            "state": "waiting",
            "job_id": "",
            "reason": "",
            "socket": str(self.directory / f"{identifier[:12]}.sock"),
            "token": f"e30.{identifier}.c2ln",
        }
        return Registration(
            identifier,
            f"e30.{identifier}.c2ln",
            b"certificate",
            ["gateway.example:8443"],
            Path(self.sessions_by_id[identifier]["socket"]),
        )

    async def projects(self, user: str, groups: list[str]) -> dict[str, Any]:
        """What a test has put there."""
        return self.offer

    async def bind_job(self, session: str, job_id: str) -> None:
        self.calls.append("bind_job")
        if self.refuse_bind:
            raise Refused("session.bound", "This session has another job.")
        self._known(session)["job_id"] = job_id

    async def show(self, session: str) -> dict[str, Any]:
        facts = {key: value for key, value in self._known(session).items() if key != "launch"}
        return facts | {"ended_by": self.ends.by(session)}

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        self._known(session)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self.steps.get(session, ())) <= after:
                    await self.changed.wait()
        return self.steps.get(session, [])[after:]

    async def end(self, session: str, reason: str, by: str = "staff") -> None:
        self.calls.append("end")
        if self._known(session)["state"] != "ended":
            self.step("ended", reason, session)
        if server := self._servers.pop(session, None):
            await _stop(server)

    async def endings(self, boot: str, after: int, timeout_s: float) -> dict[str, Any]:
        return await self.ends.after(boot, after, timeout_s)

    async def sessions(self) -> list[dict[str, Any]]:
        return [await self.show(session) for session in self.sessions_by_id]

    async def status(self) -> dict[str, Any]:
        return {"version": "double"}

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        raise Refused("admin.double", kind)

    async def drop_tokens(self) -> list[dict[str, Any]]:
        raise Refused("admin.double", "drop_tokens")

    async def keys(self) -> list[dict[str, Any]]:
        return []


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[GatewayDouble]:
    """The double with its admin API at ``directory/admin.sock``."""
    double = GatewayDouble(directory)
    server = AdminServer(double, allowed_uids={os.geteuid()})
    server.listen(directory / "admin.sock")
    try:
        yield double
    finally:
        await server.stop()
        await double.close()


async def _stop(server: HTTPServer) -> None:
    server.stop()
    await server.close_all_connections()


async def _beside_a_hub(directory: Path) -> None:
    """Every session is served and ready as soon as it has its job."""
    store = directory / "sessions.json"
    async with running(directory) as double:
        if store.exists():
            double.sessions_by_id = json.loads(store.read_text())
            for session, facts in double.sessions_by_id.items():
                if facts["state"] == "ready":
                    double.serve(session)
        while True:
            for session, facts in list(double.sessions_by_id.items()):
                if facts["state"] == "waiting" and facts["job_id"]:
                    double.step("enrolled", session=session)
                    double.serve(session)
                    double.step("ready", session=session)
            (directory / "new.json").write_text(json.dumps(double.sessions_by_id))
            (directory / "new.json").rename(store)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(double.changed.wait(), 0.1)


if __name__ == "__main__":
    asyncio.run(_beside_a_hub(Path(sys.argv[1])))
