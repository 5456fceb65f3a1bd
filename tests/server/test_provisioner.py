"""Kernels and terminals of a real server: what they can reach of it without us, and that they can't with us."""

import asyncio
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.values import Right
from tests.server.realserver import HUB_TOKEN, RealServer, rules

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
def _(): return bool([os.readlink(f"/proc/{server}/fd/{name}") for name in os.listdir(f"/proc/{server}/fd")])
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
def _():
    for old, new in (("/session.json", "/gone"), ("/gone", "/session.json")): os.rename(private + old, private + new)
    return True
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


LISTEN = """
import json, re, zmq
found, context = [], zmq.Context()
for path in re.findall(r"\\S*-[0-9]$", open("/proc/net/unix").read(), re.M):
    if PRIVATE in path and VICTIM in path:
        subscriber = context.socket(zmq.SUB)
        subscriber.subscribe(b"")
        subscriber.connect(f"ipc://{path}")
        found.append(subscriber)
print("listens", len(found), flush=True)
import time
heard, end = b"", time.monotonic() + 6
while time.monotonic() < end and b"a secret" not in heard:
    for one in found:
        if one.poll(50): heard += b"".join(one.recv_multipart())
print("heard", b"a secret" in heard)
context.destroy(linger=0)
"""


@needs_landlock
@pytest.mark.parametrize("session", [False, True])
async def test_what_a_kernel_shows_is_heard_by_no_other_kernel(server: RealServer, session: bool) -> None:
    await server.start(rules(server.home) if session else None, session=session)
    victim, kernel = await asyncio.gather(server.client.start_kernel(), server.client.start_kernel())
    code = LISTEN.replace("PRIVATE", repr(str(server.private))).replace("VICTIM", repr(victim[:8]))
    listening = asyncio.create_task(server.client.run(kernel, code))
    for i in itertools.count():
        # ipykernel takes no message twice
        assert await server.client.run(victim, f"print('a secret')  # {i}") == "a secret\n"
        if listening.done():
            break
    said = await listening
    assert "listens" in said and "listens 0" not in said
    assert f"heard {not session}" in said


async def kernelspec(server: RealServer, name: str, **fields: Any) -> None:
    """A kernel that the user installed."""
    place = server.home / ".local/share/jupyter/kernels" / name
    place.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": "python", **fields}))


async def start(server: RealServer, name: str, **more: Any) -> tuple[int, Any]:
    return await server.client.request("POST", "/api/kernels", {"name": name, **more})


async def test_a_kernel_that_asks_for_other_means_is_refused_with_the_file_to_change(server: RealServer) -> None:
    await kernelspec(server, "far", metadata={"kernel_provisioner": {"provisioner_name": "slurm-provisioner"}})
    await kernelspec(server, "near", metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}})
    await server.start(rules(server.home))
    status, answer = await start(server, "far")
    assert status == 403
    for word in ("'slurm-provisioner'", "hpcsec-provisioner", "kernels/far/kernel.json"):
        assert word in answer["message"]
    status, kernel = await start(server, "near")
    assert status == 201
    assert await server.client.run(kernel["id"], "import os; print('JUPYTER_HPCSEC_KERNEL' in os.environ)") == "True\n"


async def test_a_users_own_kernel_can_not_name_a_token_out_of_the_servers_environment(server: RealServer) -> None:
    await kernelspec(server, "sly", env={"MINE": "x ${JUPYTERHUB_API_TOKEN}", "PATH": "${PATH}:/mine", "JPY_X": "1"})
    await server.start(rules(server.home), COPY=f"http://x:{HUB_TOKEN}@hub/")
    _, kernel = await start(server, "sly")
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    environment = json.loads(await server.client.run(kernel["id"], code))
    assert HUB_TOKEN not in json.dumps(environment)
    assert not {name for name in environment if name.startswith(("JUPYTERHUB_", "HPCSEC_"))}
    assert {name for name in environment if name.startswith("JPY_")} <= {"JPY_PARENT_PID", "JPY_SESSION_NAME"}
    assert environment["PATH"].endswith(":/mine") and environment["HARMLESS"] == "kept"
    assert environment["JUPYTER_HPCSEC_KERNEL"] == kernel["id"]
    assert not environment["JUPYTER_RUNTIME_DIR"].startswith(str(server.private))


async def test_a_working_directory_that_is_closed_is_refused(server: RealServer, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (server.home / "out").symlink_to(tmp_path / "outside")
    (server.home / "secret").mkdir()
    (server.home / "work").mkdir()
    await server.start(rules(server.home, (server.home / "secret", Right.NONE)))
    for path, words in (("secret", "rule 2"), ("out", "No rule of the access policy")):
        status, answer = await start(server, "python3", path=path)
        assert status == 403
        assert words in answer["message"]
    _, kernel = await start(server, "python3", path="work")
    assert await server.client.run(kernel["id"], "import os; print(os.getcwd())") == f"{server.home}/work\n"


async def test_a_program_that_is_not_there_is_named(server: RealServer) -> None:
    await kernelspec(server, "gone", argv=["/opt/none/R", "{connection_file}"])
    await server.start(rules(server.home))
    status, answer = await start(server, "gone")
    assert status == 500
    assert "/opt/none/R is not on this node" in answer["message"]


async def test_kernels_are_interrupted_restarted_and_leave_nothing(server: RealServer) -> None:
    await server.start(rules(server.home))
    client = server.client
    kernel = await client.start_kernel()
    where = "import os, ipykernel.connect as c; print(os.getpid(), c.get_connection_file())"
    pid, file = (await client.run(kernel, where)).split()
    assert Path(file).parent.parent == server.private / "k"
    assert f"kernel-{kernel}.json" in file

    sleeping = asyncio.create_task(client.run(kernel, "import time; print('sleeps', flush=True); time.sleep(300)"))
    while not await is_busy(server, kernel):
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    assert (await client.request("POST", f"/api/kernels/{kernel}/interrupt"))[0] == 204
    assert "KeyboardInterrupt" in await asyncio.wait_for(sleeping, 60)

    assert (await client.request("POST", f"/api/kernels/{kernel}/restart"))[0] == 200
    again, same = (await client.run(kernel, where)).split()
    assert again != pid and same == file
    assert not Path("/proc", pid).exists()

    assert (await client.request("DELETE", f"/api/kernels/{kernel}"))[0] == 204
    assert not Path("/proc", again).exists()
    assert list((server.private / "k").iterdir()) == []


async def is_busy(server: RealServer, kernel: str) -> bool:
    return bool((await server.client.request("GET", f"/api/kernels/{kernel}"))[1]["execution_state"] == "busy")


async def test_a_kernel_dies_with_its_server(server: RealServer) -> None:
    await server.start(rules(server.home))
    kernel = await server.client.start_kernel()
    # Ignores the polite ways, and its own poller for a parent
    code = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid())"
    pid = (await server.client.run(kernel, code)).strip()
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    while Path("/proc", pid).exists() and ") Z " not in Path("/proc", pid, "stat").read_text():
        await asyncio.sleep(0.05)


@needs_landlock
async def test_what_people_do_in_kernels_goes_on(server: RealServer) -> None:
    await server.start(rules(server.home))
    kernel = await server.client.start_kernel()
    cells = {
        "!echo from a shell": "from a shell\r\n",
        "import tempfile; print(tempfile.NamedTemporaryFile().write(b'x'))": "1\n",
        "from multiprocessing import Pool\nwith Pool(2) as p: print(p.map(abs, [-1, -2]))": "[1, 2]\n",
        "from multiprocessing import shared_memory\nm = shared_memory.SharedMemory(create=True, size=9)\n"
        "m.unlink(); print(m.size)": "9\n",
        "import os; print(len(os.listdir('/')) > 5)": "True\n",
        "import subprocess, time\np = subprocess.Popen(['sleep', '99']); p.terminate(); print(p.wait())": "-15\n",
        "open('new', 'w').write('x'); os.rename('new', 'newer'); print(open('newer').read())": "x\n",
        "import json; print(json.load(open(os.environ['JUPYTER_HPCSEC_SESSION']))['user'])": "alice\n",
    }  # fmt: skip
    for cell, expected in cells.items():
        assert await asyncio.wait_for(server.client.run(kernel, cell), 60) == expected, cell
