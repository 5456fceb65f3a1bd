"""The extension in a real jupyter_server (not a hub's): enabled by its data file, authorized, silent elsewhere."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jupyter_hpcsec
from jupyter_hpcsec import server
from jupyter_hpcsec.hub.readiness import wait_until_ready
from jupyter_hpcsec.server import live
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from tests.hub.standin import access_of

PACKAGE = Path(jupyter_hpcsec.__file__).parent
FACTS = {
    "user": "alice",
    "server": "lab",
    "session": "0" * 32,
    "job": "17",
    "node": "n1",
    "ends_at": 1,
    "protections": {},
    "recording": {"level": "metadata", "text": "Requests."},
}
RECORDED = [{"code": code, "text": text} for code, text in {**live.RECORDED, live.LEVEL: "Requests."}.items()]
SHOWN = {**FACTS, "certificate_ends_at": None, "stale": None, "recorded": RECORDED, "records": ""}
FILE = {**FACTS, "endpoints": ["hub:8443"], "ca_pin": "0" * 64}  # fmt: skip
GOOD_TOKEN = "the-owners"
DENY = """
from jupyter_server.auth import Authorizer
class Deny(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return (action, resource) != ("read", "hpcsec")
c.ServerApp.authorizer_class = Deny
"""


def test_the_data_file_names_the_extension() -> None:
    assert server._jupyter_server_extension_points() == [{"module": "jupyter_hpcsec.server"}]
    enabled = json.loads((PACKAGE / "server/jupyter_server_config.d/jupyter_hpcsec.json").read_text())
    assert enabled == {"ServerApp": {"jpserver_extensions": {"jupyter_hpcsec.server": True}}}


class Server:
    """A jupyter_server on a unix socket."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.socket = directory, directory / "s"
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, *, session: str | None, config: str = "") -> None:
        (self.directory / "jupyter_server_config.py").write_text(config)
        (self.directory / "facts").write_text(session or "")
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.directory), "JUPYTER_CONFIG_PATH": str(PACKAGE / "server"),
            "JUPYTER_CONFIG_DIR": str(self.directory), "JUPYTER_RUNTIME_DIR": str(self.directory),
        }  # fmt: skip
        if session is not None:
            env[SESSION_VARIABLE] = str(self.directory / "facts")
        self.process = subprocess.Popen(  # noqa: ASYNC220 - a fork and an exec
            [sys.executable, "-m", "jupyter_server", f"--ServerApp.sock={self.socket}", "--allow-root",
             "--ServerApp.base_url=/base/", f"--IdentityProvider.token={GOOD_TOKEN}", "--no-browser",
             "--ServerApp.log_level=INFO"],
            env=env, cwd=self.directory, stderr=(self.directory / "log").open("wb"),
        )  # fmt: skip
        await asyncio.wait_for(wait_until_ready(self.socket, "/base/api"), 60)

    async def get(self, token: str = GOOD_TOKEN, what: str = "session") -> tuple[int, bytes]:
        reader, writer = await asyncio.open_unix_connection(self.socket)
        head = f"GET /base/hpcsec/api/{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\n"
        writer.write((head + "Connection: close\r\n\r\n").encode())
        header, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(header.split()[1]), body


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


async def test_outside_of_a_session_it_does_nothing(jupyter: Server) -> None:
    await jupyter.start(session=None, config='c.KernelManager.transport = "tcp"')
    assert (await jupyter.get())[0] == 404
    assert (await jupyter.get(what="access"))[0] == 404
    log = (jupyter.directory / "log").read_text()
    assert "was not started by a session" in log
    assert "is not used" not in log, "a plain server's kernels are left alone"


async def test_who_may_not_is_refused_and_who_may_is_told(jupyter: Server) -> None:
    await jupyter.start(session=json.dumps(FILE), config='c.KernelManager.ip = "0.0.0.0"')
    assert (await jupyter.get("wrong"))[0] == 403
    status, body = await jupyter.get()
    assert status == 200
    assert json.loads(body) == SHOWN
    assert "KernelManager.ip is not used" in (jupyter.directory / "log").read_text()


async def test_the_authorizer_is_asked(jupyter: Server) -> None:
    await jupyter.start(session=json.dumps(FILE), config=DENY)
    assert (await jupyter.get())[0] == 403


async def test_the_owner_alone_is_told_the_rules_and_what_is_enforced(jupyter: Server) -> None:
    rules = json.loads(json.dumps(access_of()))
    await jupyter.start(session=json.dumps(FILE))
    assert (await jupyter.get(what="access"))[0] == 500, "no file yet"
    access = {"rules": rules, "digest": "d", "receipt": {"landlock_abi": 7}}
    (jupyter.directory / "access.json").write_text(json.dumps(access))
    assert (await jupyter.get("wrong", what="access"))[0] == 403
    status, body = await jupyter.get(what="access")
    found = json.loads(body)
    assert status == 200 and found["receipt"] == {"landlock_abi": 7} and found["stale"] is None
    assert found["rules"] == rules
    (jupyter.directory / "stale.json").write_text(json.dumps({"since": 1, "ends_at": 601, "reason": "Changed."}))
    assert json.loads((await jupyter.get(what="access"))[1])["stale"]["ends_at"] == 601


async def test_facts_that_can_not_be_read_are_an_error_without_their_content(jupyter: Server) -> None:
    await jupyter.start(session='{"token": "SECRET"}')
    status, body = await jupyter.get()
    assert status == 500
    assert b"can't be read" in body
    assert b"SECRET" not in body
