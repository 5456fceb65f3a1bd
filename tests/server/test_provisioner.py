"""Kernels and terminals of a real server: what they can reach of it without us, and that they can't with us."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.values import Right
from tests.server.realserver import BASE, HUB_TOKEN, OWNERS_TOKEN, RealServer, rules

needs_landlock = pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6 for its scopes")

ATTACKS = """
import errno, glob, json, os, socket
private, others, secret = PRIVATE, OTHERS, SECRET
server = os.getppid()
found = {}
def attempt(name):
    def run(function):
        try: found[name] = function()
        except OSError as error: found[name] = errno.errorcode[error.errno]
    return run
def read(path):
    with open(path, "rb") as file: return file.read(100000)
@attempt("token in the environment")
def _(): return any(secret in value for value in os.environ.values())
@attempt("server's environment")
def _(): return secret.encode() in read(f"/proc/{server}/environ")
@attempt("server's memory")
def _(): os.close(os.open(f"/proc/{server}/mem", os.O_RDONLY)); return True
@attempt("server's descriptors")
def _(): return bool([os.readlink(path) for path in glob.glob(f"/proc/{server}/fd/*")] or os.listdir(f"/proc/{server}/fd"))
@attempt("signal the server")
def _(): os.kill(server, 0); return True
@attempt("signal another kernel")
def _(): os.kill(others["pid"], 0); return True
@attempt("another kernel's environment")
def _(): return b"HOME" in read(f"/proc/{others['pid']}/environ")
@attempt("another kernel's connection file")
def _(): return "key" in json.loads(read(others["file"]))
@attempt("server's file")
def _(): return b"token" in read(glob.glob(private + "/j/jpserver-*.json")[0])
@attempt("cookies' key")
def _(): return bool(read(private + "/j/jupyter_cookie_secret"))
@attempt("write among the server's files")
def _():
    with open(private + "/j/mine", "w"): return True
@attempt("replace the rules")
def _(): os.rename(private + "/session.json", private + "/gone"); os.rename(private + "/gone", private + "/session.json"); return True
@attempt("the server's API")
def _():
    token = next((value for name, value in os.environ.items() if name == "JUPYTERHUB_API_TOKEN"), "")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(private + "/server.sock")
        s.sendall(f"GET /user/alice/api/contents HTTP/1.0\\r\\nAuthorization: token {token}\\r\\n\\r\\n".encode())
        return int(s.recv(100).split()[1]) == 200
print(json.dumps(found))
"""
OPEN = {
    "token in the environment": True, "server's environment": True, "server's memory": True,
    "server's descriptors": True, "signal the server": True, "signal another kernel": True,
    "another kernel's environment": True, "another kernel's connection file": True, "server's file": True,
    "cookies' key": True, "write among the server's files": True, "replace the rules": True, "the server's API": True,
}  # fmt: skip
CLOSED = {
    "token in the environment": False, "server's environment": "EACCES", "server's memory": "EACCES",
    "server's descriptors": "EACCES", "signal the server": "EPERM", "signal another kernel": "EPERM",
    "another kernel's environment": "EACCES", "another kernel's connection file": "EACCES", "server's file": "EACCES",
    "cookies' key": "EACCES", "write among the server's files": "EACCES", "replace the rules": "EACCES",
    "the server's API": False,
}  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    made = RealServer(tmp_path)
    yield made
    made.stop()


async def attack(server: RealServer) -> dict[str, Any]:
    """Two kernels; one attacks the server and the other."""
    victim, kernel = await asyncio.gather(server.client.start_kernel(), server.client.start_kernel())
    where = "import json, os, ipykernel.connect as c; print(json.dumps([os.getpid(), c.get_connection_file()]))"
    pid, file = json.loads(await server.client.run(victim, where))
    code = ATTACKS.replace("PRIVATE", repr(str(server.private))).replace("SECRET", repr(HUB_TOKEN))
    said = await server.client.run(kernel, code.replace("OTHERS", repr({"pid": pid, "file": file})))
    return dict(json.loads(said))


@needs_landlock
async def test_what_a_kernel_reaches_of_the_server_without_us(server: RealServer) -> None:
    # a hub's server accepts its own token for the Hub; a plain one is given it
    server.client.token = HUB_TOKEN
    await server.start(None, session=False)
    assert await attack(server) == OPEN


@needs_landlock
async def test_a_kernel_reaches_nothing_of_the_server_or_of_other_kernels(server: RealServer) -> None:
    await server.start(rules(server.home))
    assert await attack(server) == CLOSED
