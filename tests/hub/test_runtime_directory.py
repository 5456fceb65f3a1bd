"""The private directory: where it may be, who may enter, and that nothing of it is left."""

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub import runtime_directory as module
from jupyter_hpcsec.hub.runtime_directory import (
    SOCKET_PATH_LIMIT,
    candidates,
    file_system,
    mount_table,
    runtime_directory,
    why_not,
)

MOUNTINFO = (
    "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
    "30 22 0:40 / /home rw shared:1 - nfs4 server:/home rw\n"
    "31 22 0:41 / /scratch\\040local rw - xfs /dev/sdb rw\n"
    "32 30 0:42 / /home/local rw - ext4 /dev/sdc rw\n"
)


def test_mounts_are_read() -> None:
    mounts = mount_table(MOUNTINFO)
    assert file_system(Path("/tmp"), mounts) == "ext4"
    assert file_system(Path("/home/alice/tmp"), mounts) == "nfs4"
    assert file_system(Path("/home/local/tmp"), mounts) == "ext4"
    assert file_system(Path("/scratch local/x"), mounts) == "xfs"


def test_a_place_that_will_not_do_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SOCKET", "/s")
    uid = tmp_path.stat().st_uid
    assert why_not(tmp_path / "none", {}, uid=uid) == "No such file or directory"
    (tmp_path / "file").touch()
    assert why_not(tmp_path / "file", {}, uid=uid) == "it is not a directory"
    tmp_path.chmod(0o777)
    assert why_not(tmp_path, {}, uid=uid) == "others may rename what is in it"
    tmp_path.chmod(0o700)
    assert why_not(tmp_path, {Path("/"): "lustre"}, uid=uid) == "it is on a shared file system (lustre)"
    assert why_not(tmp_path, {Path("/"): "ext4"}, uid=uid) is None
    tmp_path.chmod(0o1777)
    assert why_not(tmp_path, {Path("/"): "ext4"}, uid=uid) is None
    if uid == 0:
        os.chown(tmp_path, 12345, -1)
        assert why_not(tmp_path, {}, uid=uid) == "it belongs to another user"


def test_a_long_path_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    assert why_not(deep, {}, uid=deep.stat().st_uid) == "its path is too long for sockets"


def test_no_place_at_all_is_an_error_that_names_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "candidates", lambda environment: [Path("/nowhere"), Path("/dev/null")])
    said = "/nowhere: No such file or directory; /dev/null: it is not a directory"
    with pytest.raises(Unavailable, match=said), runtime_directory({}):
        pytest.fail("there is no place")


def test_a_place_where_programs_seldom_write_comes_first() -> None:
    always = [Path("/var/tmp"), Path("/tmp"), Path("/dev/shm")]
    assert candidates({"TMPDIR": "/scratch/17"}) == [*always, Path("/scratch/17")]
    assert candidates({"TMPDIR": "relative"}) == always


def test_a_full_file_system_is_passed_over_and_nothing_left_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full, free = tmp_path / "f", tmp_path / "g"
    full.mkdir(mode=0o700)
    free.mkdir(mode=0o700)
    reserve = os.posix_fallocate

    def fallocate(descriptor: int, offset: int, length: int) -> None:
        if full in Path(f"/proc/self/fd/{descriptor}").readlink().parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    monkeypatch.setattr(module, "LONGEST_SOCKET", "/s")
    monkeypatch.setattr(module, "SOCKET_PATH_LIMIT", 1000)
    monkeypatch.setattr(module, "candidates", lambda environment: [full])
    with pytest.raises(Unavailable, match=f"{full}: No space left on device"), runtime_directory({}):
        pytest.fail("there is no room")
    assert list(full.iterdir()) == []
    monkeypatch.setattr(module, "candidates", lambda environment: [full, free])
    with runtime_directory({}) as directory:
        assert directory.path.parent == free


def test_only_we_may_enter_the_paths_are_short_and_nothing_is_left() -> None:
    with runtime_directory({}) as directory:
        for path in (directory.path, directory.jupyter):
            assert stat.S_IMODE(path.lstat().st_mode) == 0o700
        longest = directory.jupyter / "kernel-12345678-1234-1234-1234-123456789012-ipc-99999"
        assert len(str(longest)) <= SOCKET_PATH_LIMIT
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(longest))
        directory.server_socket.touch()
    assert not directory.path.exists()


def test_it_is_removed_also_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError), runtime_directory({}) as directory:
        _ = 1 / 0
    assert not directory.path.exists()


def test_a_link_in_it_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with runtime_directory({}) as directory:
        (directory.path / "link").symlink_to(tmp_path)
    assert (tmp_path / "kept").exists()


LEAVE = """
import os, sys
from pathlib import Path
from jupyter_hpcsec.hub import runtime_directory as module
module.candidates = lambda environment: [Path(sys.argv[1])]
with module.runtime_directory({}) as directory:
    (directory.path / "server.sock").touch()
    print(directory.path, flush=True)
    sys.stdin.read(1)
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_agent_left_is_removed_by_the_next_and_what_a_living_one_holds_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        monkeypatch.setattr(module, "candidates", lambda environment: [Path(base)])
        others = Path(base, "hpcsec-jobs"), Path(base, "hpcsec-link")
        others[0].mkdir(mode=0o700)
        others[1].symlink_to(others[0])
        with subprocess.Popen(
            [sys.executable, "-c", LEAVE, base], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as agent:
            assert agent.stdout is not None
            assert agent.stdin is not None
            path = Path(agent.stdout.readline().strip())
            with runtime_directory({}):
                assert (path / "server.sock").exists(), "it lives"
            agent.communicate("x")
        assert path.exists(), "it was killed and could not tidy up"
        with runtime_directory({}) as ours:
            assert not path.exists()
            assert ours.path.exists()
        assert others[0].is_dir()
        assert others[1].is_symlink()
