"""Landlock on this kernel: bind is possible without it, refused with it; and nothing is applied that can't be held."""

import errno
import subprocess
import sys
import textwrap

import pytest

from jupyter_hpcsec.access import landlock
from jupyter_hpcsec.access.landlock import ABIS, NO_TCP_BIND, Net, Ports, Ruleset
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
