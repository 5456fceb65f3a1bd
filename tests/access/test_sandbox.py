"""The sandbox and its guard on this kernel: each way to a listener works without it, and fails with it."""

import errno
import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access import canary, landlock, mounts, sandbox, seccomp
from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.sandbox import CANNOT_START
from jupyter_hpcsec.access.values import Bind, Enforcement
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.hub.server_process import start_server
from tests.nobody import run_python

needs_landlock = pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock ABI 4, here: none or older")
needs_namespaces = pytest.mark.skipif(bool(mounts.probe()), reason="needs user namespaces")

ATTEMPTS = """
    import ctypes, errno, json, os, socket, sys, tempfile, threading
    results = {}
    def attempt(name):
        def run(function):
            try: results[name] = function() or "done"
            except OSError as error: results[name] = errno.errorcode[error.errno]
        return run
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        @attempt(f"bind {family:d}")
        def _():
            with socket.socket(family) as s: s.bind((host, 0))
        @attempt(f"listen unbound {family:d}")
        def _():
            with socket.socket(family) as s: s.listen()
        @attempt(f"udp {family:d}")
        def _():
            with socket.socket(family, socket.SOCK_DGRAM) as s: s.bind((host, 0))
    @attempt("mptcp")
    def _():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as s: s.bind(("127.0.0.1", 0)); s.listen()
    @attempt("listen in a thread")
    def _():
        said = []
        def work():
            try:
                with socket.socket() as s: s.listen()
                said.append("done")
            except OSError as error: said.append(errno.errorcode[error.errno])
        thread = threading.Thread(target=work); thread.start(); thread.join()
        return said[0]
    @attempt("listen after a fork")
    def _():
        if (child := os.fork()) == 0:
            try: socket.socket().listen(); os._exit(0)
            except OSError as error: os._exit(error.errno)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return errno.errorcode[status] if status else "done"
    @attempt("io_uring")
    def _():
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(425, 4, None)
        return errno.errorcode[ctypes.get_errno()]
    @attempt("unix")
    def _():
        path = os.path.join(tempfile.mkdtemp(), "s")
        with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
            s.bind(path); s.listen(1); c.connect(path); s.accept()[0].close()
    @attempt("unix bad number")
    def _():
        ctypes.CDLL(None).listen  # the wrapper is there; the number is not
        if ctypes.CDLL(None, use_errno=True).listen(999, 1): raise OSError(ctypes.get_errno(), "")
    @attempt("no socket")
    def _():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.listen(0, 1): raise OSError(ctypes.get_errno(), "")
    @attempt("outbound")
    def _():
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))): pass
    print(json.dumps(results))
"""
OPEN = {
    "bind 2": "done", "bind 10": "done", "listen unbound 2": "done", "listen unbound 10": "done",
    "udp 2": "done", "udp 10": "done", "mptcp": "done", "listen in a thread": "done", "listen after a fork": "done",
    "io_uring": "EFAULT", "unix": "done", "unix bad number": "EBADF", "no socket": "ENOTSOCK", "outbound": "done",
}  # fmt: skip
CLOSED = {
    **dict.fromkeys(OPEN, "EACCES"),
    "io_uring": "ENOSYS", "unix": "done", "unix bad number": "EBADF", "no socket": "ENOTSOCK", "outbound": "done",
}  # fmt: skip


async def attempts(bind: Bind | None, tmp_path: Path) -> tuple[Mapping[str, str], Mapping[str, object], list[int]]:
    """What came of each attempt, the receipt, and who was refused; without a sandbox for ``None``."""
    refused: list[int] = []
    program = tmp_path / "attempts.py"
    program.write_text(textwrap.dedent(ATTEMPTS))
    with socket.create_server(("127.0.0.1", 0)) as outside:
        argv = [sys.executable, str(program), str(outside.getsockname()[1])]
        if bind is None:
            done = subprocess.run(argv, capture_output=True, check=True, timeout=60)  # noqa: ASYNC221
            return json.loads(done.stdout), {}, []
        server = await start_server(
            ["/bin/sh", "-c", '"$@" > out', "sh", *argv],
            dict(os.environ),
            plan=unrestricted("u", bind),
            cwd=tmp_path,
            on_refused=refused.append,
        )
        status = await server.wait()
        server.close()
    assert status == 0
    return json.loads((tmp_path / "out").read_text()), server.receipt, refused


@needs_landlock
async def test_every_way_to_a_listener_is_open_outside_and_closed_inside(tmp_path: Path) -> None:
    results, _, _ = await attempts(None, tmp_path)
    assert results == OPEN

    results, receipt, refused = await attempts(Bind.NONE, tmp_path)
    assert results == CLOSED
    assert receipt["bind"] == "none"
    assert {name: outcome for name, outcome in receipt.items() if name.startswith("canary.")} == {
        "canary.tcp-bind": "refused",
        "canary.tcp-listen": "refused",
        "canary.tcp6-listen": "refused",
        "canary.udp-socket": "refused",
        "canary.vsock": "refused",
        "canary.unix-listen": "allowed",
    }
    assert len(refused) == 4, "two unbound, one in a thread, one after a fork; the canary's own are not counted"


@needs_landlock
async def test_udp_can_be_left_alone_and_nothing_else_with_it(tmp_path: Path) -> None:
    results, receipt, _ = await attempts(Bind.UNSAFE_UDP, tmp_path)
    assert results == {**CLOSED, "udp 2": "done", "udp 10": "done"}
    assert receipt["canary.udp-socket"] == "allowed"


@needs_landlock
async def test_where_all_may_listen_only_what_passes_by_the_ports_is_refused(tmp_path: Path) -> None:
    results, receipt, refused = await attempts(Bind.UNSAFE_ALLOW, tmp_path)
    assert results == {**OPEN, "mptcp": "EACCES", "io_uring": "ENOSYS"}
    assert (receipt["bind"], receipt["canary.tcp-listen"], refused) == ("unsafe-allow", "allowed", [])


@needs_namespaces
async def test_a_network_of_its_own_leads_nowhere_and_everything_listens_in_it(tmp_path: Path) -> None:
    results, receipt, refused = await attempts(Bind.PRIVATE, tmp_path)
    assert results == {**OPEN, "io_uring": "ENOSYS", "outbound": "ECONNREFUSED"}
    assert (receipt["bind"], receipt["connect"], refused) == ("private", "nothing outside a network of its own", [])


@needs_landlock
async def test_a_socket_swapped_under_the_guards_eyes_does_not_listen(tmp_path: Path) -> None:
    """Another thread puts a TCP socket in the place of a unix one, again and again, while ``listen`` is asked about."""
    program = """
        import os, socket, sys, threading
        unix, tcp = socket.socket(socket.AF_UNIX), socket.socket()
        unix.bind("")
        number = os.dup(unix.fileno())
        def swap():
            while True:
                os.dup2(unix.fileno(), number); os.dup2(tcp.fileno(), number)
        threading.Thread(target=swap, daemon=True).start()
        import ctypes
        libc, outcomes = ctypes.CDLL(None, use_errno=True), set()
        for _ in range(2000):
            outcomes.add("done" if libc.listen(number, 1) == 0 else os.strerror(ctypes.get_errno()))
        # accepting is tried: only a listening socket says EAGAIN to it, any other EINVAL
        tcp.setblocking(False)
        try: tcp.accept()
        except OSError as error: listening = isinstance(error, BlockingIOError)
        print(sorted(outcomes), listening)
    """
    (tmp_path / "race.py").write_text(textwrap.dedent(program))
    server = await start_server(
        ["/bin/sh", "-c", '"$@" > out', "sh", sys.executable, str(tmp_path / "race.py")],
        dict(os.environ), plan=unrestricted("u", Bind.NONE), cwd=tmp_path,
    )  # fmt: skip
    assert await server.wait() == 0
    server.close()
    assert (tmp_path / "out").read_text().strip() == "['Permission denied', 'done'] False"


@needs_landlock
async def test_when_the_guard_is_gone_listening_fails(tmp_path: Path) -> None:
    program = "import sys,socket,time\nopen('up','w')\nwhile True:\n  time.sleep(.01)\n  s=socket.socket(1); s.bind('')"
    program += "\n  try: s.listen()\n  except OSError as e: open('out','w').write(str(e.errno)); break"
    server = await start_server(
        [sys.executable, "-c", program], dict(os.environ), plan=unrestricted("u", Bind.NONE), cwd=tmp_path
    )
    server._drop_guard()
    assert await server.wait() == 0
    server.close()
    assert (tmp_path / "out").read_text() == "38", "ENOSYS: seccomp_unotify(2)"


HIDING = """
    import asyncio, os, sys
    from jupyter_hpcsec.access.plan import unrestricted
    from jupyter_hpcsec.access.values import Bind
    from jupyter_hpcsec.hub.server_process import start_server
    program = "import ctypes, socket; {hide}; s = socket.socket(1); s.bind('')"
    program += "\\ntry: s.listen()\\nexcept OSError as error: raise SystemExit(error.errno)"
    async def main():
        plan = unrestricted("u", Bind.NONE)
        server = await start_server([sys.executable, "-c", program], dict(os.environ), plan=plan)
        print(await server.wait())
        server.close()
    asyncio.run(main())
"""


@needs_landlock
@pytest.mark.parametrize(("hide", "status"), [("pass", 0), ("ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)", errno.EACCES)])
def test_a_process_that_hides_from_the_guard_can_not_listen_at_all(hide: str, status: int) -> None:
    assert int(run_python(HIDING.format(hide=hide))) == status


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Unavailable, match="/nowhere/jupyter is not on this node"):
        await start_server(["/nowhere/jupyter"], dict(os.environ), plan=unrestricted("u", Bind.UNSAFE_ALLOW))


def test_the_program_is_not_started_by_itself_for_another_parent() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        done = subprocess.run(
            [sys.executable, *sandbox.arguments(far.fileno(), 1, ["/bin/true"])],
            pass_fds=[far.fileno()], check=False,
        )  # fmt: skip
        assert done.returncode == CANNOT_START
        assert json.loads(near.recv(4096)) == {"error": "The session's agent ended while its server started."}


def test_without_a_plan_nothing_starts() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.send(b'{"plan": true}')
        done = subprocess.run(
            [sys.executable, *sandbox.arguments(far.fileno(), os.getpid(), ["/bin/true"])],
            pass_fds=[far.fileno()], check=False,
        )  # fmt: skip
        assert done.returncode == CANNOT_START
        assert json.loads(near.recv(4096)) == {"error": "The sandbox got no plan; agent and sandbox differ in version."}


@pytest.mark.parametrize("argv", [[], ["3", "1", "/bin/true"], ["3", "1", "--"]])
def test_wrong_arguments_are_refused(argv: list[str]) -> None:
    with pytest.raises(Malformed):
        sandbox.main(argv)


def test_what_this_computer_can_not_hold_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 3)
    for bind in (Bind.NONE, Bind.UNSAFE_UDP):
        with pytest.raises(Unavailable, match=r"needs ABI 4.*does not start"):
            sandbox.requirements(unrestricted("u", bind))
    sandbox.requirements(unrestricted("u", Bind.UNSAFE_ALLOW))


@pytest.mark.parametrize(("abi", "words"), [(0, "no Landlock"), (3, "Landlock ABI 3"), (5, None), (7, None)])
def test_a_kernel_below_the_policys_minimum_is_refused(
    monkeypatch: pytest.MonkeyPatch, abi: int, words: str | None
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    plan = msgspec.structs.replace(unrestricted("u", Bind.NONE), enforcement=Enforcement.REQUIRED, minimum_abi=5)
    if words is None:
        sandbox.requirements(plan)
    else:
        with pytest.raises(Unavailable, match=f"offers {words}.*requires ABI 5: no session starts"):
            sandbox.requirements(plan)


def test_a_machine_without_a_filter_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 7)
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    with pytest.raises(Unavailable, match="riscv64"):
        sandbox.requirements(unrestricted("u", Bind.NONE))


def test_a_sandbox_that_does_not_hold_is_found_by_its_canary() -> None:
    """In this process nothing is refused: the canary has to see that."""
    with pytest.raises(Unavailable, match="tcp-bind was allowed, not refused"):
        canary.try_sockets(Bind.NONE)


def test_names_are_asked_for_by_tcp_where_udp_is_refused() -> None:
    def environment(base: dict[str, str], bind: Bind) -> dict[str, str]:
        return sandbox.environment(base, unrestricted("u", bind))

    assert environment({"A": "1"}, Bind.NONE) == {"A": "1", "RES_OPTIONS": "use-vc"}
    assert environment({"RES_OPTIONS": "ndots:2"}, Bind.NONE) == {"RES_OPTIONS": "ndots:2 use-vc"}
    assert environment({"A": "1"}, Bind.UNSAFE_UDP) == {"A": "1"}
