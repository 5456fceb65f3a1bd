"""The network part and descriptors from outside: each way succeeds without the sandbox, and fails with it."""

import json
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock, mounts
from tests.access.inside import a_home, give, inside, outside
from tests.nobody import prefix

pytestmark = pytest.mark.skipif(
    landlock.abi() < 6 or bool(mounts.probe()), reason="needs Landlock ABI 6 and user namespaces"
)

ATTEMPTS = """
    import ctypes, errno, json, os, socket, struct, sys
    port, libc, results = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True), {}
    where = ("127.0.0.1", port)
    def attempt(name):
        def run(function):
            try: function(); results[name] = "done"
            except OSError as error: results[name] = errno.errorcode.get(error.errno, str(error))
        return run
    @attempt("connect")
    def _():
        with socket.create_connection(where): pass
    @attempt("connect without blocking")
    def _():
        with socket.socket() as s:
            s.setblocking(False)
            if (number := s.connect_ex(where)) not in {0, errno.EINPROGRESS}: raise OSError(number, "")
    @attempt("sendto that connects")
    def _():
        with socket.socket() as s: s.sendto(b"x", 0x20000000, where)
    @attempt("sendmsg that connects")
    def _():
        with socket.socket() as s: s.sendmsg([b"x"], [], 0x20000000, where)
    @attempt("connect later, by option")
    def _():
        with socket.socket() as s:
            s.setsockopt(socket.IPPROTO_TCP, 30, 1); s.connect(where); s.send(b"x")
    @attempt("mptcp")
    def _():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as s: s.connect(where)
    @attempt("udp")
    def _():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.sendto(b"x", where)
    @attempt("io_uring")
    def _():
        ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))
        if ring < 0: raise OSError(ctypes.get_errno(), "")
    for name, family in (("vsock", 40), ("alg", 38)):
        @attempt(name)
        def _():
            with socket.socket(family, socket.SOCK_STREAM if name == "vsock" else socket.SOCK_SEQPACKET): pass
    print(json.dumps(results))
"""
REFUSED = {
    **dict.fromkeys(
        ("connect", "connect without blocking", "sendto that connects", "sendmsg that connects",
         "connect later, by option", "mptcp", "udp"), "EACCES",
    ),
    "io_uring": "ENOSYS", "vsock": "EAFNOSUPPORT", "alg": "EAFNOSUPPORT",
}  # fmt: skip
ON_AN_ALLOWED_PORT = {
    **REFUSED, "connect": "done", "connect without blocking": "done", "connect later, by option": "done",
}  # fmt: skip


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as made:
        (made / "../other").resolve().mkdir()
        (made.parent / "other/file").write_text("denied")
        give(made.parent)
        yield made


@pytest.fixture
def port() -> Iterator[int]:
    """Something that answers whoever connects."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def answer() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_every_way_out_is_open_outside_and_only_the_allowed_ports_inside(home: Path, port: int) -> None:
    free = json.loads(outside(ATTEMPTS, str(port), cwd=home))
    unsupported = {name for name, outcome in free.items() if outcome in {"EAFNOSUPPORT", "EPROTONOSUPPORT", "ENOSYS"}}
    assert {name for name, outcome in free.items() if outcome != "done"} == unsupported
    assert "connect" not in unsupported and "sendto that connects" not in unsupported

    for connect, expected in (([], REFUSED), ([443], REFUSED), ([port], ON_AN_ALLOWED_PORT)):
        done = inside(ATTEMPTS, str(port), rules=[(home, "write")], cwd=home, connect=connect)
        assert json.loads(done.out) == expected


def test_a_directory_had_from_outside_opens_nothing(home: Path) -> None:
    """A process of the same user outside hands descriptors in; what they lead to was not granted."""
    giver = """
        import os, socket, sys
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(sys.argv[1]); listening.listen(); print("up", flush=True)
            for _ in range(2):
                other, _ = listening.accept()
                descriptors = [os.open(sys.argv[2], flags) for flags in (os.O_PATH, os.O_RDONLY)]
                socket.send_fds(other, [b"x"], descriptors)
    """
    taker = """
        import errno, os, socket, sys
        with socket.socket(socket.AF_UNIX) as s:
            s.connect("give.sock")
            for descriptor in socket.recv_fds(s, 1, 2)[1]:
                for attempt in (lambda: os.open("file", os.O_RDONLY, dir_fd=descriptor),
                                lambda: os.open(f"/proc/self/fd/{descriptor}/file", os.O_RDONLY),
                                lambda: os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor),
                                lambda: os.unlink("file", dir_fd=descriptor) if len(sys.argv) > 1 else os.open(
                                    ".", os.O_RDONLY, dir_fd=descriptor),
                                lambda: (os.fchdir(descriptor), os.open("file", os.O_RDONLY))):
                    try: attempt(); print("done")
                    except OSError as error: print(errno.errorcode[error.errno])
    """
    argv = [
        *prefix(),
        sys.executable,
        "-c",
        textwrap.dedent(giver),
        str(home / "give.sock"),
        str(home.parent / "other"),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=home) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        assert set(outside(taker, cwd=home).split()) == {"done"}
        done = inside(taker, "unlink", rules=[(home, "write")], cwd=home)
        process.wait()
    assert set(done.out.split()) == {"EACCES"}
    assert (home.parent / "other/file").exists()


def test_a_network_of_its_own_has_no_way_to_the_nodes(home: Path, port: int) -> None:
    program = """
        import socket, sys
        try: socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        except OSError as error: print(error)
    """
    assert outside(program, str(port), cwd=home) == ""
    done = inside(program, str(port), rules=[(home, "write")], cwd=home, bind="private", connect=[port])
    assert done.out == "[Errno 111] Connection refused\n"


def test_services_and_batch_systems_are_not_there(home: Path) -> None:
    program = """
        import os
        places = ("/run/lock", "/run/dbus", "/run/munge", "/run/user", "/var/spool", "/etc/cron.d", "/etc/munge")
        print([place for place in places if os.path.exists(place)])
    """
    assert "/var/spool" in outside(program, cwd=home)
    assert inside(program, rules=[(home, "write")], cwd=home).out == "[]\n"
