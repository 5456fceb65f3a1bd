"""Private files are refused when they are not private, and a crash leaves old or new."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.identity import files


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    files.make_directory(tmp_path / "keys")
    return tmp_path / "keys"


def rule(function: object, *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        function(*arguments)  # type: ignore[operator]
    return caught.value.rule


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o770, 0o701, 0o704, 0o777])
def test_a_directory_that_is_open_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(Refused, match=f"chmod 0700 {tmp_path}") as caught:
        files.check_directory(tmp_path)
    assert caught.value.rule == "keys.mode"


def test_a_link_a_file_and_nothing_are_no_directory(directory: Path) -> None:
    (directory / "link").symlink_to(directory)
    (directory / "file").touch(mode=0o600)
    assert rule(files.check_directory, directory / "link") == "keys.directory"
    assert rule(files.make_directory, directory / "link") == "keys.directory"
    assert rule(files.check_directory, directory / "file") == "keys.directory"
    with pytest.raises(Unavailable):
        files.check_directory(directory / "missing")
    with pytest.raises(Unavailable):
        files.make_directory(directory / "missing" / "keys")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file somebody else's")
def test_somebody_elses_files_are_refused(directory: Path) -> None:
    files.write_new(directory / "a", b"x")
    os.chown(directory / "a", 65534, 65534)
    assert rule(files.read, directory / "a", 10) == "keys.owner"
    os.chown(directory, 65534, 65534)
    assert rule(files.check_directory, directory) == "keys.owner"


def test_a_file_that_is_not_private_is_refused(directory: Path) -> None:
    files.write_new(directory / "a", b"x")
    (directory / "link").symlink_to(directory / "a")
    os.mkfifo(directory / "pipe", 0o600)
    with pytest.raises(Unavailable):
        files.read(directory / "link", 10)
    with pytest.raises(Unavailable):
        files.read(directory / "missing", 10)
    assert rule(files.read, directory / "pipe", 10) == "keys.file"
    assert rule(files.read, directory / "a", 0) == "keys.file"
    (directory / "a").chmod(0o640)
    assert rule(files.read, directory / "a", 10) == "keys.mode"


def test_a_file_that_is_there_is_not_written_over(directory: Path) -> None:
    files.write_new(directory / "a", b"1")
    (directory / "link").symlink_to(directory / "b")
    with pytest.raises(Unavailable):
        files.write_new(directory / "a", b"2")
    with pytest.raises(Unavailable):
        files.write_new(directory / "link", b"2")
    assert files.read(directory / "a", 10) == b"1"
    assert not (directory / "b").exists()


def test_files_are_private_whatever_the_umask(directory: Path) -> None:
    old = os.umask(0)
    try:
        files.write_new(directory / "a", b"1")
        files.replace(directory / "b", b"2")
        files.make_directory(directory / "c")
    finally:
        os.umask(old)
    assert [(directory / name).stat().st_mode & 0o777 for name in "abc"] == [0o600, 0o600, 0o700]


def test_a_replacement_is_whole_or_not_at_all(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.replace(directory / "a", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(Unavailable, match="No space left"):
            files.replace(directory / "a", b"new")
    assert files.read(directory / "a", 10) == b"old"
    assert [path.name for path in directory.iterdir()] == ["a"]
    files.replace(directory / "a", b"new")
    assert files.read(directory / "a", 10) == b"new"


def test_a_sweep_removes_only_what_is_ours_and_not_needed(directory: Path) -> None:
    for name in ("a.key", "b.key", "notes.txt"):
        files.write_new(directory / name, b"")
    files.sweep(directory, re.compile(r"[a-z]\.key"), {"a.key"})
    assert sorted(path.name for path in directory.iterdir()) == ["a.key", "notes.txt"]


def test_one_writer_at_a_time(directory: Path) -> None:
    order: list[str] = []
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait()
        with files.locked(directory, exclusive=True):
            order.append("other")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with files.locked(directory, exclusive=True):
        inside.set()
        assert not done.wait(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]


def test_a_lock_goes_with_its_process(directory: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from jupyter_hpcsec.identity import files\n"
        "with files.locked(Path(sys.argv[1]), exclusive=True): os._exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code, directory], check=False).returncode == 7
    with files.locked(directory, exclusive=True):
        pass
