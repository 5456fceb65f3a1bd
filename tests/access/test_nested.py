"""The narrower sandbox on this kernel: what a process can do beside it, in it, and how it fails."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.access import landlock, nested

needs_landlock = pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6 for its scopes")

ATTEMPTS = """
import errno, json, os, socket, sys
private, found = sys.argv[1], {}
def attempt(name, function):
    try: function(); found[name] = "done"
    except OSError as error: found[name] = errno.errorcode[error.errno]
attempt("read a secret", lambda: open(private + "/secret").read())
attempt("change a secret", lambda: open(private + "/secret", "a"))
attempt("shorten a secret", lambda: os.truncate(private + "/secret", 0))
attempt("make a file", lambda: open(private + "/new", "w"))
attempt("make a socket", lambda: socket.socket(socket.AF_UNIX).bind(private + "/sock"))
attempt("remove a file", lambda: os.unlink(private + "/gone"))
attempt("move a file out", lambda: os.rename(private + "/moved", private + "/own/moved"))
attempt("link a file out", lambda: os.link(private + "/secret", private + "/own/link"))
attempt("move the directory", lambda: (os.rename(private, private + "-"), os.rename(private + "-", private)))
attempt("read what is open", lambda: open(private + "/told").read())
attempt("change what is open", lambda: open(private + "/told", "a"))
attempt("write in its own", lambda: open(private + "/own/x", "w"))
attempt("socket in its own", lambda: socket.socket(socket.AF_UNIX).bind(private + "/own/sock"))
attempt("write elsewhere", lambda: open("/dev/shm/" + os.path.basename(private), "w"))
attempt("signal the parent", lambda: os.kill(os.getppid(), 0))
attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).connect(chr(0) + os.path.basename(private)))
attempt("own child", lambda: os.kill(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "9"), 9))
attempt("list the root", lambda: os.listdir("/"))
print(json.dumps(found))
"""
STILL = {
    "read what is open": "done", "write in its own": "done", "socket in its own": "done", "write elsewhere": "done",
    "own child": "done", "list the root": "done",
}  # fmt: skip
CLOSED = {
    "read a secret": "EACCES", "change a secret": "EACCES", "shorten a secret": "EACCES", "make a file": "EACCES",
    "make a socket": "EACCES", "remove a file": "EACCES", "move a file out": "EACCES", "link a file out": "EXDEV",
    "move the directory": "EACCES", "change what is open": "EACCES", "signal the parent": "EPERM",
    "abstract socket": "EPERM", **STILL,
}  # fmt: skip


@pytest.fixture
def private() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hpcsec-", dir="/var/tmp"))
    (path / "own").mkdir()
    for name in ("secret", "gone", "moved", "told"):
        (path / name).write_text(name)
    yield path
    subprocess.run(["rm", "-rf", path, f"{path}-", f"/dev/shm/{path.name}"], check=True)


def run(private: Path, *before: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + private.name)
        listener.listen()
        command = [*before, sys.executable, "-c", ATTEMPTS, str(private)]
        return dict(json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout))


def enter(private: Path, *program: str, parent: int | None = None) -> list[str]:
    opened = [str(private / "own"), str(private / "told")]
    where = [str(os.getpid() if parent is None else parent), str(private), *opened, "--", *program]
    return [sys.executable, "-I", "-S", nested.__file__, *where]


@needs_landlock
def test_beside_it_everything_is_open(private: Path) -> None:
    assert run(private) == dict.fromkeys(CLOSED, "done")


@needs_landlock
def test_in_it_the_directory_is_closed_but_for_what_is_opened_and_nothing_else_is(private: Path) -> None:
    assert run(private, *enter(private)) == CLOSED


@needs_landlock
def test_a_second_name_of_a_directory_on_the_way_opens_nothing(private: Path) -> None:
    """A session's own ``/tmp`` can be a directory that also encloses the closed one, seen at a second path."""
    closed = private / "own"
    (closed / "secret").write_text("x")
    inner = [sys.executable, "-I", "-S", nested.__file__, str(os.getpid()), str(closed), "--"]
    read = f"cat {closed}/secret; cat /mnt/own/secret; cat /mnt/told"
    mounting = 'mount --bind "$0" /mnt && exec "$@"'
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command = [*namespace, "sh", "-c", mounting, str(private)]
    assert subprocess.run([*command, "sh", "-c", read], capture_output=True, check=False).stdout == b"xxtold"
    done = subprocess.run([*command, *inner, "sh", "-c", read], capture_output=True, text=True, check=False)
    assert done.stdout == "told", "it lies beside the closed one, and may be read under both names"
    assert done.stderr.count("Permission denied") == 2, done.stderr


def test_a_server_that_is_gone_is_not_waited_for(private: Path) -> None:
    done = subprocess.run(enter(private, "echo", "ran", parent=1), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (nested.CANNOT_START, b"")


def test_a_program_that_is_not_there_is_said(private: Path) -> None:
    done = subprocess.run(enter(private, "/none"), capture_output=True, text=True, check=False)
    assert done.returncode == nested.CANNOT_START
    assert done.stderr.startswith("hpcsec: /none could not be started in its own sandbox")
    assert "Traceback" not in done.stderr


def test_a_directory_that_is_not_there_runs_nothing(private: Path) -> None:
    done = subprocess.run(enter(private / "none", "echo", "ran"), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (nested.CANNOT_START, b"")


def test_what_lies_beside_is_all_but_the_way() -> None:
    found = nested.beside("/usr/lib")
    assert "/usr" not in found and "/usr/lib" not in found
    assert "/usr/bin" in found and "/proc" in found


def test_it_imports_nothing_that_takes_long() -> None:
    code = f"import sys; exec(open({nested.__file__!r}).read(), dict(__name__='it')); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True).stdout
    assert not {"signal", "enum", "re", "dataclasses", "subprocess", "jupyter_hpcsec"} & set(said.split())
