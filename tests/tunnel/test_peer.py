import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel import peer
from jupyter_hpcsec.tunnel.peer import PATH_LIMIT, PeerCredentials, bind_unix, peer_credentials

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refusal_of(path: Path, **options: int) -> str:
    with pytest.raises(Refused) as error:
        bind_unix(path, **options)
    return error.value.rule


# -- binding ------------------------------------------------------------------------------------------------------


def test_a_path_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / ("x" * PATH_LIMIT)) == "socket.path"


@pytest.mark.parametrize(("mode", "group"), [(0o666, None), (0o666, 0), (0o660, None), (0o620, None), (0o700, None)])
def test_a_mode_wider_than_owner_and_named_group_is_refused(tmp_path: Path, mode: int, group: int | None) -> None:
    with pytest.raises(Refused) as error:
        bind_unix(tmp_path / "s", mode, group)
    assert error.value.rule == "socket.mode"
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("mode", [0o770, 0o1777, 0o702])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert refusal_of(tmp_path / "s") == "socket.directory"
    assert not (tmp_path / "s").exists()


@as_root
def test_someone_elses_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    assert refusal_of(tmp_path / "s") == "socket.directory"


def test_a_missing_directory_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        bind_unix(tmp_path / "missing" / "s")


def test_a_file_or_a_link_in_its_place_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert refusal_of(tmp_path / "file") == "socket.kind"
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert refusal_of(tmp_path / "link") == "socket.kind"


def test_a_living_socket_is_refused_with_its_owner_and_still_serves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(path) as first:
        with pytest.raises(Refused, match=f"Process {os.getpid()} of uid {os.geteuid()} listens") as error:
            bind_unix(path)
        assert error.value.rule == "socket.in-use"
        first.accept()[0].close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))


def test_a_living_socket_with_a_full_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(path, backlog=0), socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(os.fspath(path))
        assert refusal_of(path) == "socket.in-use"


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    code = f"from jupyter_hpcsec.tunnel.peer import *; import os; s = bind_unix(Path({os.fspath(path)!r})); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(os.fspath(path))
    with bind_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def test_of_two_starts_at_once_one_gets_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind_unix(path).close()
    code = (
        "from jupyter_hpcsec.tunnel.peer import *; from jupyter_hpcsec.errors import Refused; import sys\n"
        f"sys.stdin.readline()\ntry: s = bind_unix(Path({os.fspath(path)!r})); print('bound', flush=True)\n"
        "except Refused as error: print(error.rule, flush=True)\nsys.stdin.readline()"
    )
    starts = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for start in starts:
        assert start.stdin is not None
        start.stdin.write("go\n")
        start.stdin.flush()
    said = [start.stdout.readline().strip() for start in starts if start.stdout]
    for start in starts:
        start.communicate("stop\n")
    assert sorted(said) == ["bound", *["socket.in-use"] * 3]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_the_socket_is_private_from_its_first_moment(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, at_birth = tmp_path / "s", []

    class Watched(socket.socket):
        def bind(self, address: object) -> None:
            super().bind(address)  # type: ignore[arg-type]
            at_birth.append(mode_of(path))

    monkeypatch.setattr(peer.socket, "socket", Watched)
    before = os.umask(umask)
    try:
        bind_unix(path, 0o660, os.getegid()).close()
    finally:
        os.umask(before)
    assert at_birth == [0o600]
    assert mode_of(path) == 0o660
    assert path.lstat().st_gid == os.getegid()


def test_a_system_that_ignores_the_mode_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer.os, "fchmod", lambda descriptor, mode: None)
    before = os.umask(0)
    try:
        assert refusal_of(tmp_path / "s") == "socket.mode"
    finally:
        os.umask(before)
    assert not (tmp_path / "s").exists()


# -- who is there -------------------------------------------------------------------------------------------------


def test_only_unix_sockets_have_peer_credentials() -> None:
    with socket.socket(socket.AF_INET) as inet, pytest.raises(ValueError, match="BUG"):
        peer_credentials(inet)
    closed = socket.socket(socket.AF_UNIX)
    closed.close()
    with pytest.raises(Unavailable):
        peer_credentials(closed)


def test_we_are_our_own_peer() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert peer_credentials(left) == PeerCredentials(os.getpid(), os.geteuid(), os.getegid())


@as_root
def test_another_user_is_seen_as_such(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(path) as server:
        server.setblocking(True)
        code = (
            "import os, socket; os.setgid(65533); s = socket.socket(socket.AF_UNIX)\n"
            f"s.connect({os.fspath(path)!r}); os.setuid(65534); s.recv(1)"
        )
        child = subprocess.Popen([sys.executable, "-c", code])
        connection, _ = server.accept()
        with connection:
            assert peer_credentials(connection) == PeerCredentials(child.pid, 0, 65533), "who it was at connect()"
        child.wait()
