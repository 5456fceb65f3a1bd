"""Landlock on this kernel: bind is possible without it, refused with it; and nothing is applied that can't be held."""

import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.landlock import ABIS, NO_TCP_BIND, READ, WRITE, Below, Fs, Net, Ports, Ruleset, Scope, known
from jupyter_hpcsec.errors import Unavailable

needs_landlock = pytest.mark.skipif(landlock.abi() < 4, reason="needs Landlock ABI 4, here: none or older")


def run(program: str) -> list[str]:
    """Run in a process of its own: a restriction is for life."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


TRY = """
    import errno, socket
    from jupyter_hpcsec.access.landlock import *
    def outcome(call):
        try: call(); return "done"
        except OSError as error: return errno.errorcode[error.errno]
    def bind(port=0, family=socket.AF_INET):
        with socket.socket(family) as s: s.bind(("127.0.0.1" if family == socket.AF_INET else "::1", port))
    server = socket.create_server(("127.0.0.1", 0))
    {restrict}
    print(outcome(bind), outcome(lambda: bind(family=socket.AF_INET6)), outcome(lambda: bind({port})))
    print(outcome(lambda: socket.create_connection(server.getsockname())))
"""


@needs_landlock
@pytest.mark.parametrize(
    ("restrict", "expected"),
    [
        ("", ["done", "done", "done", "done"]),
        ("restrict_thread(NO_TCP_BIND)", ["EACCES", "EACCES", "EACCES", "done"]),
        (
            "restrict_thread(Ruleset(Net.BIND_TCP, (Ports(PORT, Net.BIND_TCP),)))",
            ["EACCES", "EACCES", "done", "done"],
        ),
        ("restrict_thread(NO_TCP_BIND); restrict_thread(Ruleset(Net.CONNECT_TCP))", ["EACCES"] * 4),
    ],
)
def test_what_can_be_bound(restrict: str, expected: list[str], unused_port: int) -> None:
    program = TRY.format(restrict=restrict.replace("PORT", str(unused_port)), port=unused_port)
    assert run(program) == expected


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@needs_landlock
def test_children_are_restricted_too_and_it_can_not_be_taken_back() -> None:
    out = run("""
        import subprocess, sys
        from jupyter_hpcsec.access.landlock import *
        restrict_thread(NO_TCP_BIND)
        restrict_thread(Ruleset(Net.CONNECT_TCP, (Ports(80, Net.CONNECT_TCP),)))  # a layer narrows, it opens nothing
        child = "import socket; socket.socket().bind(('127.0.0.1', 0))"
        print("PermissionError" in subprocess.run([sys.executable, "-c", child], stderr=-1, text=True).stderr)
    """)
    assert out == ["True"]


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_a_kernel_that_can_not_hold_the_rules_is_refused_with_what_would(version: int) -> None:
    with pytest.raises(Unavailable) as error:
        landlock.check(NO_TCP_BIND, version)
    assert "needs ABI 4 (Linux 6.7" in error.value.reason
    assert ("no Landlock" in error.value.reason) == (version == 0)


def test_a_kernel_that_can_is_not() -> None:
    for row in ABIS[3:]:
        landlock.check(NO_TCP_BIND, row.version)
    landlock.check(NO_TCP_BIND, 99)  # a later one


def test_without_landlock_nothing_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_system_call(*words: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(landlock, "_syscall", no_system_call)
    assert landlock.abi() == 0
    with pytest.raises(Unavailable):
        landlock.restrict_thread(NO_TCP_BIND)


def test_rules_read_as_what_they_do() -> None:
    assert str(NO_TCP_BIND) == "landlock: no TCP bind"
    both = Ruleset(Net.BIND_TCP | Net.CONNECT_TCP, (Ports(443, Net.CONNECT_TCP),))
    assert str(both) == "landlock: no TCP bind or TCP connect but TCP connect on port 443"


def test_the_table_has_one_row_for_each_version_in_order() -> None:
    assert [row.version for row in ABIS] == list(range(1, len(ABIS) + 1))


@pytest.mark.parametrize(
    ("ruleset", "version"),
    [
        (Ruleset(files=READ), 1),
        (Ruleset(files=Fs.REFER), 2),
        (Ruleset(files=WRITE), 3),
        (Ruleset(files=READ, denied=Net.BIND_TCP), 4),
        (Ruleset(files=Fs.IOCTL_DEV), 5),
        (Ruleset(scopes=Scope.SIGNAL), 6),
    ],
)
def test_each_right_needs_the_version_that_brought_it(ruleset: Ruleset, version: int) -> None:
    assert ruleset.needs.version == version
    landlock.check(ruleset, version)
    with pytest.raises(Unavailable, match=f"needs ABI {version} "):
        landlock.check(ruleset, version - 1)


def test_what_a_kernel_knows_grows_with_its_version() -> None:
    assert (known(0).files, known(0).net, known(0).scopes) == (Fs(0), Net(0), Scope(0))
    assert known(1).files == landlock.FIRST_FS
    assert known(7).files == Fs((1 << 16) - 1)
    assert known(99).files == known(7).files, "a later kernel holds what is known here"


FILES = """
    import errno, os, sys
    from jupyter_hpcsec.access.landlock import *
    def outcome(call):
        try: call(); return "done"
        except OSError as error: return errno.errorcode[error.errno]
    restrict_thread(Ruleset(files=known(abi()).files, below=(
        Below("/usr", READ), Below(sys.argv[1] + "/read", READ), Below(sys.argv[1] + "/write", WRITE),
        Below(sys.argv[1] + "/file", READ), Below("/dev/null", WRITE))))
    os.chdir(sys.argv[1])
    print(*(outcome(attempt) for attempt in (
        lambda: open("read/x").read(), lambda: open("read/x", "w"), lambda: os.unlink("read/x"),
        lambda: open("other/x"),
        lambda: open("write/x", "w"), lambda: os.rename("write/x", "write/y"), lambda: os.rename("write/y", "other/y"),
        lambda: os.truncate("write/y", 0), lambda: os.mknod("write/z", 0o020600, 0), lambda: open("file"),
        lambda: open("file", "a"), lambda: os.listdir("."), lambda: open("/dev/null", "w"), lambda: open("link"),
    )))
"""


@needs_landlock
def test_files(tmp_path: Path) -> None:
    for name in ("read", "write", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("other/x")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FILES), str(tmp_path.resolve())],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "done EACCES EACCES EACCES done done EACCES done EACCES done EACCES EACCES done EACCES"
    assert done.stdout.strip() == expected, done.stderr


@needs_landlock
def test_a_rule_follows_no_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr")
    for path in ("link", "link/bin"):
        out = run(f"""
            from jupyter_hpcsec.access.landlock import *
            try: restrict_thread(Ruleset(files=READ, below=(Below("{tmp_path.resolve()}/{path}", READ),)))
            except OSError as error: print(error.errno)
        """)
        assert out == [str(errno.ELOOP)]


def test_a_layer_reads_as_what_it_does() -> None:
    layer = Ruleset(files=READ, below=(Below("/usr", READ), Below("/home", WRITE)), scopes=Scope.SIGNAL)
    assert str(layer) == ("landlock: no reading but reading below /usr, writing below /home; no signal to the outside")
