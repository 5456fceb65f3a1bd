"""A whole session in its job, with a real single-user server and real kernels; gateway and Hub API are stand-ins."""

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.access import landlock, mounts
from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.job import SERVER_FAILED, Job, Outcome, describe_end
from jupyter_hpcsec.hub.job_environment import JobEnvironment
from jupyter_hpcsec.hub.processes import descendants, processes
from jupyter_hpcsec.identity.keys import KeyRing
from jupyter_hpcsec.identity.tokens import JobClaims, mint
from jupyter_hpcsec.ops.listeners import Listener, listeners
from jupyter_hpcsec.server import live
from tests.access.inside import a_home, resolved_of
from tests.hub.jupyter_client import Client
from tests.hub.standin import SESSION, STRANGER_TOKEN, USER_TOKEN, StandInTunnel, TunnelMaker, access_of, launch_of

pytestmark = pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock ABI 4, here: none or older")

RECORDING = {"level": "sources", "text": "Told."}
DEFENCE_OFF = {"access": access_of(Bind.UNSAFE_ALLOW)}


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token of the right form; the stand-in gateway takes any."""
    ring = KeyRing.open(tmp_path_factory.mktemp("keys") / "keys", now=1, trust_domain="example.org")
    kid, key = ring.signing_key()
    claims = JobClaims(issuer="i", audience="a", session=SESSION, jti="0" * 32, not_before=1, expires=2)
    return mint(key, kid, claims)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The job's: a home of its own, no configuration of whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "IPYTHONDIR": str(home / ".ipython")}


@dataclass
class Running:
    """A job under test: its tunnel, and its outcome to come."""

    tunnel: StandInTunnel
    outcome: "asyncio.Task[Outcome]"

    @property
    def client(self) -> Client:
        return Client(self.tunnel.directory.server_socket, USER_TOKEN)

    async def ready(self) -> None:
        """Ready, or over."""
        waiting = asyncio.ensure_future(self.tunnel.reported("ready"))
        await asyncio.wait({waiting, self.outcome}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert not self.outcome.done(), self.outcome


@pytest.fixture
async def start(token: str, environment: dict[str, str]) -> AsyncIterator[Any]:
    """Start a job in this process; whatever is left of it at the end of the test is ended."""
    started: list[Running] = []

    async def start_job(launch: dict[str, Any], refusal: Exception | None = None, **env: str) -> Running:
        maker = TunnelMaker(launch, refusal)
        facts = JobEnvironment(token, ("127.0.0.1:1",), b"", job_id="17", node="node1", ends_at=1_900_000_000)
        job = Job(facts, {**environment, **env}, umask=0o027, log=logging.getLogger("job"), tunnel=maker)
        running = Running(None, asyncio.create_task(job.run()))  # type: ignore[arg-type]
        running.tunnel = await maker.made
        started.append(running)
        return running

    yield start_job
    for running in started:
        running.tunnel.stop("the test is over")
        with contextlib.suppress(Refused, Unavailable, Malformed):
            await running.outcome


@pytest.fixture
def elsewhere() -> set[Listener]:
    """What listens in this process before the session is there: other tests' servers."""
    return set(listeners(os.getpid()))


def singleuser(**fields: Any) -> dict[str, Any]:
    return launch_of("jupyterhub-singleuser", **fields)


async def open_up(client: Client) -> None:
    """A kernel and a terminal, and every way to a listener that a user might try in them."""
    kernel = await client.start_kernel()
    assert (await client.request("POST", "/api/terminals", {}))[0] == 200
    assert await client.run(kernel, "print(6 * 7)") == "42\n"
    attempts = "import socket, os\nkept = []\n" + "".join(
        f"try:\n  s = {make}\n  kept.append(s)\nexcept OSError as e: print(e.strerror)\n"
        for make in (
            "socket.create_server(('127.0.0.1', 0))",
            "socket.socket(); s.listen()",
            "socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 0))",
        )
    )
    await client.run(kernel, attempts)


async def test_without_the_defence_a_session_listens(start: Any) -> None:
    running = await start(singleuser(**DEFENCE_OFF))
    await running.ready()
    await open_up(running.client)
    found = listeners(os.getpid())
    # ipykernel's own pipe, the two TCP servers of the attempts, the UDP socket; kernels may open more of their own
    assert Counter(item.protocol for item in found) >= Counter({"tcp": 3, "udp": 1})


async def test_with_it_nothing_of_a_session_listens_and_everything_works(start: Any, elsewhere: set[Listener]) -> None:
    running = await start(singleuser())
    await running.ready()
    client = running.client
    await open_up(client)
    assert set(listeners(os.getpid())) <= elsewhere
    assert stat.S_IMODE(running.tunnel.directory.server_socket.stat().st_mode) == 0o600

    kernel = (await client.request("GET", "/api/kernels"))[1][0]["id"]
    figure = "%matplotlib inline\nimport matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    cells = {
        "!echo from a shell": "from a shell\r\n",
        figure: "image/png text/plain\n",
        "from multiprocessing import Pool\nwith Pool(2) as p: print(p.map(abs, [-1, -2]))": "[1, 2]\n",
        "from multiprocessing.managers import SyncManager\n"
        "with SyncManager() as m: print(list(m.list([1])))": "[1]\n",
        "import zmq, tempfile; at = f'ipc://{tempfile.mkdtemp()}/s'; c = zmq.Context()\n"
        "a, b = c.socket(zmq.REP), c.socket(zmq.REQ); a.bind(at); b.connect(at); b.send(b'x'); print(a.recv())":
            "b'x'\n",
        "import subprocess, sys\nrun = [sys.executable, '-m', 'http.server', '0']\n"
        "print(subprocess.run(run, capture_output=True, text=True).stderr.splitlines()[-1])":
            "PermissionError: [Errno 13] Permission denied\n",
        "import os; print(oct(os.umask(0o27)))": "0o27\n",
        "print([n for n in os.environ if n.startswith('HPCSEC_')])": "[]\n",
    }  # fmt: skip
    for cell, expected in cells.items():
        assert await asyncio.wait_for(client.run(kernel, cell), 60) == expected, cell
    # the debugger wants a port: it is refused one (ipykernel then logs the error and never replies); the kernel goes on
    debug = {"type": "request", "seq": 1, "command": "initialize", "arguments": {"clientID": "t", "adapterID": ""}}
    await asyncio.wait_for(client.ask(kernel, "control", "debug_request", debug, replies=False), 60)
    assert await asyncio.wait_for(client.run(kernel, "print('still here')"), 60) == "still here\n"
    assert set(listeners(os.getpid())) <= elsewhere


async def test_the_extension_tells_the_owner_what_the_session_is(start: Any) -> None:
    running = await start(singleuser() | {"recording": RECORDING})
    await running.ready()
    socket_path = running.tunnel.directory.server_socket
    for other in ("", "nonsense", STRANGER_TOKEN):
        assert (await Client(socket_path, other).request("GET", "/hpcsec/api/session"))[0] == 403
    assert (await running.client.request("POST", "/hpcsec/api/session", {}))[0] == 405
    status, facts = await running.client.request("GET", "/hpcsec/api/session")
    assert status == 200
    assert {"code": live.LEVEL, "text": RECORDING["text"]} in facts["recorded"]
    assert facts | {
        "user": "alice", "server": "", "session": SESSION, "job": "17", "node": "node1", "ends_at": 1_900_000_000,
        "recording": RECORDING,
    } == facts  # fmt: skip
    assert facts["protections"]["canary.tcp-bind"] == "refused"
    assert facts["protections"] == running.tunnel.reports[-1][2], "the gateway is told the same"


USER_CONFIG = """
c.ServerApp.port = 9999
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.sock = "/tmp/elsewhere"
c.ServerApp.sock_mode = "0666"
c.KernelManager.transport = "tcp"
c.AsyncIOLoopKernelManager.transport = "tcp"
c.ServerKernelManager.ip = "0.0.0.0"
"""


async def test_the_users_own_configuration_leads_nothing_to_the_network(
    start: Any, environment: Any, elsewhere: set[Listener]
) -> None:
    directory = Path(environment["HOME"], ".jupyter")
    directory.mkdir()
    (directory / "jupyter_server_config.py").write_text(USER_CONFIG + "c.ServerApp.max_body_size = 12345\n")
    (directory / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"port": 7777}}))
    running = await start(singleuser(), JUPYTER_PORT="6666")
    await running.ready()
    kernel = await running.client.start_kernel()
    assert await running.client.run(kernel, "print(1)") == "1\n"
    assert set(listeners(os.getpid())) <= elsewhere
    assert not Path("/tmp/elsewhere").exists()
    assert not list(Path.cwd().glob("0.0.0.0-*")), "a kernel's socket outside of the private directory"
    assert stat.S_IMODE(running.tunnel.directory.server_socket.stat().st_mode) == 0o600


async def test_the_server_calls_the_hub_through_the_socket(start: Any) -> None:
    running = await start(singleuser())
    await running.ready()
    while "POST users/alice/activity" not in running.tunnel.seen:
        await asyncio.sleep(0.05)
    assert "GET " in running.tunnel.seen, "the version check at the start"


async def ended(running: Running) -> Outcome:
    """The outcome, after making sure that nothing is left."""
    outcome = await running.outcome
    assert descendants(os.getpid(), processes()) == []
    assert not running.tunnel.directory.path.exists()
    return outcome


ESCAPE = (
    "import os, sys, time, subprocess\n"
    "subprocess.Popen([sys.executable, '-c', 'import os,time; os.fork() and os._exit(0); os.setsid(); "
    "os.fork() and os._exit(0); time.sleep(600)']).wait()"
)


@pytest.mark.parametrize(
    ("end", "status", "sentence"),
    [
        ("gateway", 0, "The session was ended: the user logged out."),
        ("batch system", 143, "The batch system ended the job (SIGTERM): cancelled, or at its time limit."),
        ("user", 0, "The notebook server was shut down."),
        ("crash", SERVER_FAILED, "The notebook server was ended by SIGKILL. It may have run out of memory."),
    ],
)
async def test_however_it_ends_everything_ends(start: Any, end: str, status: int, sentence: str) -> None:
    running = await start(singleuser())
    await running.ready()
    kernel = await running.client.start_kernel()
    await running.client.run(kernel, ESCAPE)
    assert len(descendants(os.getpid(), processes())) >= 3, "server, kernel, and the one that forked twice"
    match end:
        case "gateway":
            running.tunnel.stop("the user logged out")
        case "batch system":
            os.kill(os.getpid(), signal.SIGTERM)
        case "user":
            assert (await running.client.request("POST", "/api/shutdown"))[0] == 200
        case _:
            table = processes()
            server = next(pid for pid in descendants(os.getpid(), table) if table[pid].parent == os.getpid())
            os.kill(server, signal.SIGKILL)
    assert await ended(running) == Outcome(status, sentence)
    if end != "gateway":
        assert running.tunnel.reports[-1][:2] == ("ended", sentence)


@pytest.mark.skipif(bool(mounts.probe()), reason="needs user namespaces")
async def test_a_session_whose_mask_is_taken_off_outside_is_killed_with_all_that_it_started(start: Any) -> None:
    with a_home() as home:
        (home / "secret").mkdir()
        rules = {"rules": [(str(home), "write"), (str(home / "secret"), "none")]}
        access = msgspec.to_builtins(resolved_of(rules, str(home)))
        stubborn = f"trap '' TERM; setsid sleep 600 & echo > {home}/up; while :; do sleep 1; done"
        running = await start(launch_of("/bin/sh", "-c", stubborn, access=access), HOME=str(home))
        while not (home / "up").exists():
            assert not running.outcome.done(), running.outcome
            await asyncio.sleep(0.02)
        (home / "secret").rename(home / "secret.old")
        outcome = await ended(running)
    sentence = f"The place {home}/secret that the policy denies was replaced on the node"
    assert (outcome.status, outcome.sentence.startswith(sentence)) == (SERVER_FAILED, True), outcome
    assert running.tunnel.reports[-1][:2] == ("ended", outcome.sentence)


async def test_a_server_that_fails_is_reported_with_its_status(start: Any) -> None:
    running = await start(launch_of("/bin/sh", "-c", "exit 3"))
    assert await ended(running) == Outcome(
        SERVER_FAILED, "The notebook server failed with status 3; the job's log says why."
    )
    assert running.tunnel.reports[-1][0] == "ended"


async def test_a_server_that_does_not_heed_sigterm_is_killed(start: Any, tmp_path: Path) -> None:
    running = await start(launch_of("/bin/sh", "-c", f"trap '' TERM; echo > {tmp_path}/up; while :; do sleep 1; done"))
    while not (tmp_path / "up").exists():
        await asyncio.sleep(0.02)
    running.tunnel.stop("enough")
    assert (await ended(running)).sentence == "The session was ended: enough."


async def test_orphans_are_reaped_while_the_session_lives(start: Any, tmp_path: Path) -> None:
    orphans = "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; sleep 0.3"
    await start(launch_of("/bin/sh", "-c", f"{orphans}; echo > {tmp_path}/up; while :; do sleep 1; done"))
    while not (tmp_path / "up").exists():
        await asyncio.sleep(0.02)

    def zombies() -> list[int]:
        table = processes()
        return [pid for pid in descendants(os.getpid(), table) if table[pid].is_zombie]

    while zombies():  # one that has just ended may be seen; none stays
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("launch", "error", "match"),
    [
        (launch_of("/no/such/program"), Unavailable, "/no/such/program is not on this node"),
        ({**launch_of("x"), "argv": []}, Malformed, "argv"),
        ({**launch_of("x"), "access": None}, Malformed, "access"),
    ],
)
async def test_what_can_not_be_started_is_said_to_the_gateway(
    start: Any, launch: dict[str, Any], error: type[Exception], match: str
) -> None:
    running = await start(launch)
    with pytest.raises(error, match=match):
        await ended(running)
    assert running.tunnel.reports[-1][0] == "ended"
    assert not running.tunnel.directory.path.exists()


async def test_a_refused_enrolment_starts_nothing(start: Any) -> None:
    running = await start(singleuser(), refusal=Refused("token.used", "the token was used before"))
    with pytest.raises(Refused, match="used before"):
        await ended(running)
    assert running.tunnel.reports == []


async def test_a_node_that_can_not_hold_the_sandbox_starts_nothing(
    start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 3)
    running = await start(launch_of("/bin/sh", "-c", f"echo > {tmp_path}/ran"))
    with pytest.raises(Unavailable, match=r"needs ABI 4.*does not start"):
        await ended(running)
    assert not (tmp_path / "ran").exists()
    running = await start(launch_of("/bin/sh", "-c", f"echo > {tmp_path}/ran", **DEFENCE_OFF))
    assert (await ended(running)).status == 0
    assert (tmp_path / "ran").exists()


async def test_the_gateway_is_shown_who_asks(start: Any, token: str) -> None:
    running = await start(launch_of("/bin/true"))
    await running.outcome
    assert running.tunnel.shown["token"] == token
    assert (running.tunnel.shown["job_id"], running.tunnel.shown["node"]) == ("17", "node1")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0, Outcome(0, "The notebook server was shut down.")),
        (1, Outcome(SERVER_FAILED, "The notebook server failed with status 1; the job's log says why.")),
        (-15, Outcome(SERVER_FAILED, "The notebook server was ended by SIGTERM.")),
    ],
)
def test_exit_statuses_are_put_into_words(status: int, outcome: Outcome) -> None:
    assert describe_end(status) == outcome


def test_the_server_dies_with_the_agent(tmp_path: Path) -> None:
    """kill -9 for the agent: the kernel ends the server, whatever it is doing."""
    program = (
        "import asyncio, os, sys\nfrom jupyter_hpcsec.hub.server_process import start_server\n"
        "from jupyter_hpcsec.access.plan import unrestricted\n"
        "from jupyter_hpcsec.access.values import Bind\n"
        "async def main():\n"
        "  s = await start_server(['/bin/sleep', '600'], os.environ, plan=unrestricted('u', Bind.UNSAFE_ALLOW))\n"
        "  print(s.pid, flush=True); await s.wait()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        server = os.pidfd_open(int(agent.stdout.readline()))
        agent.kill()
    try:
        ready, _, _ = select.select([server], [], [], 60)
        assert ready, "it is still there"
    finally:
        os.close(server)
