"""Masks that root prepares: what the file may say, what is not followed, and a session without namespaces on them."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access import landlock, prepare
from jupyter_hpcsec.access.prepare import Line, parse
from jupyter_hpcsec.access.values import Mask
from jupyter_hpcsec.errors import Malformed, Unavailable
from tests.access.inside import ROOT, a_home, give

needs_root = pytest.mark.skipif(os.geteuid() != 0 or landlock.abi() < 4, reason="needs root and Landlock ABI 4")


@pytest.mark.parametrize(
    "text",
    [
        "hidden",
        "hidden .ssh",
        "hide /x",
        "hidden /",
        "hidden /a//b",
        "hidden /a/../b",
        "hidden /a/{group}",
        "hidden /a/.",
    ],
)
def test_anything_else_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(Malformed, match="line 2"):
        parse(f"# masks\n{text}\n", user="alice", home="/home/alice")


def test_what_is_read() -> None:
    text = "\n# c\nhidden {home}/.ssh\n  read-only /data/{user}/a b\n"
    assert parse(text, user="alice", home="/h/alice") == (
        Line(Mask.HIDDEN, "/h/alice/.ssh"),
        Line(Mask.READ_ONLY, "/data/alice/a b"),
    )


@given(st.text(max_size=60))
def test_nothing_but_a_refusal_comes_of_nonsense(text: str) -> None:
    try:
        lines = parse(text, user="alice", home="/home/alice")
    except Malformed:
        return
    assert all(line.path.startswith("/") and ".." not in line.path.split("/") for line in lines)


def test_a_file_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "masks.conf"
    file.write_text("hidden /x\n")
    file.chmod(0o666)
    with pytest.raises(Unavailable, match="root's alone"):
        prepare.read(file)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        prepare.read(tmp_path / "link")


def test_wrong_arguments() -> None:
    assert prepare.main([]) == 2


@pytest.fixture
def home() -> Iterator[Path]:
    with a_home() as made:
        for name in ("secret", "ro", "elsewhere"):
            (made / name).mkdir()
            (made / name / "file").write_text("text")
        (made / "key").write_text("text")
        (made / "link").symlink_to("elsewhere")
        give(made.parent)
        yield made


SESSION = """
    import os, subprocess, sys
    from pathlib import Path
    from tests.access.inside import inside
    home = Path(sys.argv[1])
    program = '''
        import os
        def attempt(function):
            try: function(); print("done")
            except OSError as error: print(error.strerror)
        attempt(lambda: open("secret/file")); attempt(lambda: os.listdir("secret")); attempt(lambda: open("key"))
        attempt(lambda: open("ro/file").read()); attempt(lambda: os.chmod("ro/file", 0o600))
        attempt(lambda: open("new", "w"))
    '''
    rules = [(home, "write"), (home / "secret", "none"), (home / "key", "none"), (home / "ro", "read")]
    done = inside(program, rules=rules, cwd=home, namespaces=False)
    print(done.refused or done.out + done.receipt["masks"])
"""


def session(home: Path, before: str = ":") -> str:
    """A session without namespaces of its own, in a mount namespace in which root ran ``before``."""
    argv = [sys.executable, "-c", textwrap.dedent(SESSION), str(home)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "sh -ec \"$1\"; shift; exec \"$@\"", "sh", before, *argv],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_root
def test_a_session_without_namespaces_stands_on_what_root_prepared(home: Path, tmp_path: Path) -> None:
    assert "user namespaces or masks that the node's prolog prepares; this node has neither" in session(home)
    file = tmp_path / "masks.conf"
    file.write_text(f"hidden {home}/secret\nhidden {home}/key\nread-only {home}/ro\n")
    masks = f"{sys.executable} -I -m jupyter_hpcsec.access.prepare {home.stat().st_uid} {file}"
    denied, read_only = "Permission denied", "Read-only file system"
    assert session(home, masks).split("\n")[:-1] == [
        denied, denied, denied, "done", read_only, "done", "2 hidden, 1 read-only, prepared by the node's root",
    ]  # fmt: skip


@needs_root
def test_links_are_not_followed_and_what_is_not_there_is_said(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "masks.conf"
    file.write_text(f"hidden {home}/link\nhidden {home}/link/file\nhidden {home}/nowhere\n")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-I", "-m", "jupyter_hpcsec.access.prepare", "root", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, "a prolog that fails takes the node out of service"
    assert done.stderr == (
        f"hpcsec: {home}/link is not hidden: Too many levels of symbolic links\n"
        f"hpcsec: {home}/link/file is not hidden: Too many levels of symbolic links\n"
        f"hpcsec: {home}/nowhere is not hidden: No such file or directory\n"
    )
