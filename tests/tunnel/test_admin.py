import asyncio
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.audit.kinds.gateway import AdminRefused
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.tunnel import peerserver
from jupyter_hpcsec.tunnel.admin import AdminClient, AdminControl, AdminServer, Registration
from jupyter_hpcsec.tunnel.session import Progress

SESSION = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
LAUNCH = {
    "argv": ["jupyterhub-singleuser"],
    "env": {"JUPYTERHUB_API_TOKEN": "s3cret"},
    "base_url": "/user/alice/",
}
PERSON: dict[str, Any] = {"groups": ["genomics"], "project": "p1", "home": "/home/alice"}
REGISTRATION = Registration(SESSION, "t0ken", b"\x30\x00der", ["hub:8444"], Path("/run/hpcsec/s.sock"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def remove(directory: Path) -> None:
    directory.rmdir()


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Noted:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, event: Event, *_: Any) -> None:
        self.events.append(event)

    async def keep(self, event: Event, *_: Any) -> None:
        self.events.append(event)

    def require(self) -> None:
        pass


class FakeControl:
    """Notes what it is asked, and answers or raises what it was told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    def _note(self, *call: Any) -> None:
        self.asked.append(call)
        if self.error is not None:
            raise self.error

    async def register(
        self, *, user: str, server: str, uid: int, lifetime_s: int, launch: Mapping[str, Any], **person: Any
    ) -> Registration:
        self._note("register", user, server, uid, lifetime_s, launch, person)
        return REGISTRATION

    async def bind_job(self, session: str, job_id: str) -> None:
        self._note("bind_job", session, job_id)

    async def show(self, session: str) -> dict[str, Any]:
        self._note("show", session)
        return {"id": session}

    async def wait(self, session: str, after: int, timeout_s: float) -> list[Progress]:
        self._note("wait", session, after, timeout_s)
        if after:
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return [Progress(1, 1_800_000_000, "waiting", "Queued")]

    async def cut(self, session: str, reason: str) -> None:
        self._note("cut", session, reason)

    async def end(self, session: str, reason: str, by: str = "staff") -> None:
        self._note("end", session, reason)

    async def sessions(self) -> list[dict[str, Any]]:
        self._note("sessions")
        return [{"id": SESSION}]

    async def status(self) -> dict[str, Any]:
        self._note("status")
        return {"pid": os.getpid()}

    async def rotate(self, kind: str) -> list[dict[str, Any]]:
        self._note("rotate", kind)
        return [{"kind": kind}]

    async def drop_tokens(self) -> list[dict[str, Any]]:
        self._note("drop_tokens")
        return [{"id": OTHER}]

    async def keys(self) -> list[dict[str, Any]]:
        self._note("keys")
        return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.fixture
async def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
async def server(control: FakeControl, path: Path) -> AsyncIterator[AdminServer]:
    checked: AdminControl = control
    server = AdminServer(checked, allowed_uids={os.geteuid()})
    server.listen(path)
    yield server
    await server.stop()


async def raw(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def post(name: str, body: bytes, headers: bytes = b"Content-Type: application/json\r\n") -> bytes:
    return b"POST /v1/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (
        name.encode(),
        headers,
        len(body),
        body,
    )


# -- who may ask --------------------------------------------------------------------------------------------------


async def test_an_unlisted_user_is_cut_off_before_anything_is_read(
    control: FakeControl, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Noted()
    server = AdminServer(control, allowed_uids={os.geteuid() + 1}, observer=observer)
    server.listen(path)
    with pytest.raises(Unavailable, match=f"uid {os.geteuid()} is not among its admin users"):
        await AdminClient(path).sessions()
    assert control.asked == []
    assert server.counters.snapshot() == {"admin.peer": 1}
    assert f"[admin.peer]: process {os.getpid()} of uid {os.geteuid()}" in caplog.text
    (event,) = observer.events
    assert isinstance(event, AdminRefused) and (event.rule, event.decision) == ("admin.peer", "refused")
    assert event.subject.account == f"uid {os.geteuid()}" and f"process {os.getpid()}" in event.reason
    await server.stop()


@as_root
async def test_root_lets_nobody_in_by_the_files_mode_alone(control: FakeControl) -> None:
    """Root's own gateway, its socket opened too wide by hand: the kernel's word on the peer still keeps others out."""
    directory = Path(tempfile.mkdtemp())
    set_mode(directory, 0o755)
    path = directory / "admin.sock"
    server = AdminServer(control, allowed_uids={0})
    server.listen(path)
    code = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX)\n"
        "try:\n    s.connect(sys.argv[1]); s.sendall(b'POST /v1/sessions HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "    print(s.recv(100) or 'closed')\n"
        "except PermissionError: print('denied')\nexcept ConnectionError: print('closed')"
    )
    for mode, said in ((0o600, b"denied\n"), (0o666, b"closed\n")):
        set_mode(path, mode)
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), stdout=subprocess.PIPE)
        assert (await child.communicate())[0] == said
    assert control.asked == []
    assert server.counters.snapshot() == {"admin.peer": 1}
    await server.stop()
    remove(directory)


async def test_nobody_is_allowed_unless_named(control: FakeControl, path: Path) -> None:
    server = AdminServer(control, allowed_uids=())
    server.listen(path)
    assert await raw(path, post("sessions", b"{}")) == b""
    assert control.asked == []
    await server.stop()


async def test_more_connections_than_the_cap_are_closed(
    control: FakeControl, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peerserver, "CONNECTIONS", 2)
    server = AdminServer(control, allowed_uids={os.geteuid()})
    server.listen(path)
    held = [await asyncio.open_unix_connection(path) for _ in range(2)]
    assert await raw(path, post("sessions", b"{}")) == b""
    assert server.counters.snapshot() == {"admin.connections": 1}
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    answer = b""
    while not answer:  # until the server has seen that they are closed
        answer = await raw(path, post("sessions", b"{}"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    await server.stop()


# -- what may be asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        (post("nothing", b"{}"), 400),
        (post("__init__", b"{}"), 400),
        (post("../sessions", b"{}"), 404),
        (b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 404),
        (post("sessions?x=1", b"{}"), 400),
        (post("sessions", b"{}", b""), 400),
        (post("sessions", b"{}", b"Content-Type: text/plain\r\n"), 400),
        (post("sessions", b"", b"Content-Type: application/json\r\n"), 400),
        (post("sessions", b'{"all": true}'), 400),
        (post("show", b'{"session": "x"}'), 400),
        (b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ],
)
async def test_what_is_no_call_reaches_no_control(
    server: AdminServer, control: FakeControl, path: Path, request_bytes: bytes, status: int
) -> None:
    answer = await raw(path, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert control.asked == []
    assert b"Tornado" not in answer


async def test_every_call_arrives_and_its_result_comes_back(
    server: AdminServer, control: FakeControl, path: Path
) -> None:
    client = AdminClient(path)
    registration = await client.register(user="alice", server="gpu", uid=2001, lifetime_s=3600, launch=LAUNCH, **PERSON)
    assert registration == REGISTRATION
    await client.bind_job(SESSION, "17")
    assert await client.show(SESSION) == {"id": SESSION}
    assert await client.wait(SESSION, 0, 0.5) == [Progress(1, 1_800_000_000, "waiting", "Queued")]
    assert await client.wait(SESSION, 0, 3600) != []
    await client.end(SESSION, "stopped")
    assert await client.sessions() == [{"id": SESSION}]
    assert await client.status() == {"pid": os.getpid()}
    assert await client.rotate("token") == [{"kind": "token"}]
    assert await client.drop_tokens() == [{"id": OTHER}]
    assert await client.keys() == []
    assert control.asked == [
        ("register", "alice", "gpu", 2001, 3600, LAUNCH, PERSON),
        ("bind_job", SESSION, "17"),
        ("show", SESSION),
        ("wait", SESSION, 0, 0.5),
        ("wait", SESSION, 0, 60.0),
        ("end", SESSION, "stopped"),
        ("sessions",),
        ("status",),
        ("rotate", "token"),
        ("drop_tokens",),
        ("keys",),
    ]
    assert server.counters.snapshot() == {}


@pytest.mark.parametrize(
    "error",
    [
        Refused("session.job-bound", "It belongs to another job."),
        Refused("session.unknown", "There is none."),
        Malformed("What?"),
        Unavailable("The disk is full."),
    ],
)
async def test_errors_arrive_as_they_were_raised(
    server: AdminServer, control: FakeControl, path: Path, error: HpcsecError
) -> None:
    control.error = error
    with pytest.raises(type(error)) as raised:
        await AdminClient(path).show(OTHER)
    assert str(raised.value) == str(error)
    rule = error.rule if isinstance(error, Refused) else f"admin.{type(error).__name__.lower()}"
    assert server.counters.snapshot() == {rule: 1}


async def test_a_fault_in_the_gateway_is_told_without_its_details(
    server: AdminServer, control: FakeControl, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    control.error = KeyError("t0ken")
    with pytest.raises(Unavailable, match="its log says why") as error:
        await AdminClient(path).sessions()
    assert "t0ken" not in str(error.value)
    control.error = None
    assert await AdminClient(path).sessions() == [{"id": SESSION}]


async def test_secrets_of_a_registration_are_not_logged(
    server: AdminServer, control: FakeControl, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    control.error = Unavailable("Later.")
    with pytest.raises(Unavailable):
        await AdminClient(path).register(user="alice", server="", uid=1, lifetime_s=1, launch=LAUNCH, **PERSON)
    control.error = ValueError("x")
    with pytest.raises(Unavailable):
        await AdminClient(path).register(user="alice", server="", uid=1, lifetime_s=1, launch=LAUNCH, **PERSON)
    assert "/v1/register" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_long_poll_ends_with_its_client(
    server: AdminServer, control: FakeControl, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    polling = asyncio.ensure_future(AdminClient(path).wait(SESSION, 1, 30))
    await control.waiting.wait()
    assert await AdminClient(path).sessions() == [{"id": SESSION}], "others are served meanwhile"
    polling.cancel()
    await asyncio.wait([polling])
    body = json.dumps({"session": SESSION, "after": 1, "timeout_s": 30}).encode()
    control.waiting.clear()
    control.cancelled.clear()
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(post("wait", body))
    await control.waiting.wait()
    writer.close()
    await control.cancelled.wait()
    assert "Traceback" not in caplog.text


# -- the socket ---------------------------------------------------------------------------------------------------


async def test_a_living_gateways_socket_is_left_alone(server: AdminServer, control: FakeControl, path: Path) -> None:
    second = AdminServer(control, allowed_uids={os.geteuid()})
    with pytest.raises(Refused, match="stop it first"):
        second.listen(path)
    await second.stop()
    assert await AdminClient(path).sessions() == [{"id": SESSION}]


async def test_the_socket_is_private_and_goes_with_the_server(control: FakeControl, path: Path) -> None:
    server = AdminServer(control, allowed_uids={os.geteuid()})
    server.listen(path)
    assert mode_of(path) == 0o600
    await server.stop()
    with pytest.raises(FileNotFoundError):
        mode_of(path)
    server = AdminServer(control, allowed_uids={os.geteuid()})
    server.listen(path, mode=0o660, group=os.getegid())
    assert mode_of(path) == 0o660
    await server.stop()


# -- the client alone ---------------------------------------------------------------------------------------------


async def test_without_a_gateway_the_sentence_names_the_socket_and_the_fix(path: Path) -> None:
    with pytest.raises(Unavailable, match=rf"No gateway runs at {path}: .*hpcsec gateway") as error:
        await AdminClient(path).sessions()
    assert "HPCSEC_ADMIN_SOCKET" in error.value.reason
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    with pytest.raises(Unavailable, match="is gone"):
        await AdminClient(path).sessions()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x\r\n\r\n"]
)
async def test_nonsense_from_the_socket_is_unavailable(path: Path, answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(reply, path):
        with pytest.raises(Unavailable):
            await AdminClient(path).sessions()


async def test_a_gateway_that_hangs_is_given_up(path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(hang, path):
        with pytest.raises(Unavailable, match="did not answer in time"):
            await AdminClient(path, timeout_s=0.05).sessions()
