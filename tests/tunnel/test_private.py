import os
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel.private import passable_directory, private_directory, private_file

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o770, 0o777, 0o755])
def test_a_directory_that_others_may_enter_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(Refused, match="chmod 0700") as error:
        private_directory(directory, rule="store")
    assert error.value.rule == "store.mode"
    assert directory.stat().st_mode & 0o777 == mode, "nothing is repaired in silence"


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Refused, match="not a directory"):
        private_directory(tmp_path / "link", rule="store")


def test_a_directory_without_a_parent_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be made"):
        private_directory(tmp_path / "missing" / "state", rule="store")


@as_root
def test_someone_elses_directory_and_file_are_refused(tmp_path: Path) -> None:
    directory, file = tmp_path / "state", tmp_path / "file"
    private_directory(directory, rule="store")
    private_file(file, rule="keys")
    os.chown(directory, NOBODY, NOBODY)
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(Refused, match="chown 0") as error:
        private_directory(directory, rule="store")
    assert error.value.rule == "store.owner"
    with pytest.raises(Refused) as error:
        private_file(file, rule="keys")
    assert error.value.rule == "keys.owner"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o602])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    with pytest.raises(Refused, match="chmod 0600") as error:
        private_file(file, rule="store")
    assert error.value.rule == "store.mode"


def test_a_linked_and_a_special_file_are_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    private_file(real, rule="store")
    (tmp_path / "soft").symlink_to(real)
    with pytest.raises(Unavailable):
        private_file(tmp_path / "soft", rule="store")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Refused, match="not a regular file"):
        private_file(tmp_path / "pipe", rule="store")
    (tmp_path / "hard").hardlink_to(real)
    with pytest.raises(Refused, match="one name"):
        private_file(real, rule="store")


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_directory(tmp_path / "state", rule="store")
        private_file(tmp_path / "state" / "file", rule="store")
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "file").stat().st_mode & 0o777 == 0o600
    private_directory(tmp_path / "state", rule="store")
    private_file(tmp_path / "state" / "file", rule="store")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_directory_to_be_passed_can_be_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        passable_directory(tmp_path / "run" / "s")
        passable_directory(tmp_path / "closed")
    finally:
        os.umask(before)
    assert (tmp_path / "run" / "s").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700, "what an administrator made stays as it is"


def test_a_file_in_a_directorys_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        passable_directory(tmp_path / "file" / "s")
