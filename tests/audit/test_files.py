"""The record's files are private, appear whole or not at all, and links are not followed."""

from pathlib import Path

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.errors import Refused, Unavailable


def test_what_is_open_to_others_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "d").chmod(0o755)
    with pytest.raises(Refused, match="chmod 0700"):
        files.make_directory(tmp_path / "d")
    (tmp_path / "l").symlink_to(tmp_path / "d")
    with pytest.raises(Refused, match="not a directory"):
        files.make_directory(tmp_path / "l")
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0o640)
    with pytest.raises(Refused, match="chmod 0600"):
        files.read_private(tmp_path / "f", 10)
    (tmp_path / "fl").symlink_to(tmp_path / "f")
    with pytest.raises(Unavailable):
        files.read_private(tmp_path / "fl", 10)
    with pytest.raises(OSError, match="symbolic"):
        files.read(tmp_path / "fl", 10)
    with pytest.raises(OSError, match="symbolic"):
        files.append(tmp_path / "fl", b"x")
    with pytest.raises(Refused, match="longer than 0 bytes"):
        files.read(tmp_path / "f", 0)


def test_a_replacement_that_fails_leaves_the_old_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_new(tmp_path / "a", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(OSError, match="full"):
        files.replace_all({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
    with pytest.raises(FileExistsError):
        files.write_new(tmp_path / "a", b"x")


def test_replaced_and_appended_files_are_private(tmp_path: Path) -> None:
    files.replace_all({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    files.append(tmp_path / "c", b"3")
    files.append(tmp_path / "c", b"4")
    assert (tmp_path / "c").read_bytes() == b"34"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    files.make_parents(tmp_path, tmp_path / "x" / "y" / "z")
    assert (tmp_path / "x" / "y" / "z").stat().st_mode & 0o777 == 0o700


def test_one_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not files.is_locked(path)
    lock = files.Lock(path)
    assert files.is_locked(path)
    with pytest.raises(Refused, match="another process"):
        files.Lock(path)
    lock.release()
    assert not files.is_locked(path)
    files.Lock(path).release()
