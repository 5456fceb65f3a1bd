"""A rotation or first start that stops at any point leaves a ring that opens, and nothing else."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.identity import files
from jupyter_hpcsec.identity.keys import KINDS, KeyRing, Kind
from tests.identity.ring import NOW, accepts, names, open_ring, token


class Crash(BaseException):
    """The power goes."""


class Disk:
    """Counts every call that changes the disk; lets the process fail at one of them."""

    CALLS = ("open", "fsync", "unlink", "mkdir", "rename", "replace", "write")

    def __init__(self, patch: pytest.MonkeyPatch, fail_at: int, error: Callable[[], BaseException]) -> None:
        self.calls, self._fail_at, self._error = 0, fail_at, error
        for name in self.CALLS:
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls > self._fail_at:
                raise self._error()
            return call(*arguments, **options)

        return counted


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [Crash, no_space], ids=["crash", "full disk"])
def test_a_rotation_that_stops_anywhere_leaves_a_ring(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, error: Callable[[], BaseException]
) -> None:
    before = KeyRing.load(directory)
    old = token(before, NOW)
    outcomes = set()
    for fail_at in range(200):
        copy = tmp_path / f"copy-{fail_at}"
        shutil.copytree(directory, copy)
        copy.chmod(0o700)
        ring = KeyRing.load(copy)
        with monkeypatch.context() as patch:
            disk = Disk(patch, fail_at, error)
            try:
                ring.rotate(kind, NOW + 1)
            except (Crash, Unavailable):
                finished = False
            else:
                finished = True
        after = KeyRing.load(copy)
        assert accepts(after, old, NOW + 1)
        assert after.authorities(NOW + 1)[-1].id == before.authority().id
        outcomes.add(len(after.list(NOW + 1)))
        # And the next rotation works, and removes what was left lying about.
        after.rotate(kind, NOW + 2)
        listed = {f"{info.kind}-{info.id}.key" for info in after.list(NOW + 2)}
        assert names(copy) <= listed | {"ring.json", "lock"}
        if finished:
            assert disk.calls == fail_at
            break
    else:
        pytest.fail("the rotation never came to its end")
    # Some stopped before the index was replaced, some after.
    assert outcomes == {2, 3}


@pytest.mark.parametrize("error", [Crash, no_space], ids=["crash", "full disk"])
def test_a_drop_that_stops_anywhere_leaves_a_ring_with_all_of_the_old_or_none(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    KeyRing.load(directory).rotate("token", NOW)
    old = token(KeyRing.load(directory), NOW)
    outcomes = set()
    for fail_at in range(200):
        copy = tmp_path / f"copy-{fail_at}"
        shutil.copytree(directory, copy)
        copy.chmod(0o700)
        ring = KeyRing.load(copy)
        with monkeypatch.context() as patch:
            disk = Disk(patch, fail_at, error)
            try:
                ring.drop_tokens(NOW + 1)
            except (Crash, Unavailable):
                finished = False
            else:
                finished = True
        after = KeyRing.load(copy)
        outcomes.add((len(after.list(NOW + 1)), accepts(after, old, NOW + 1)))
        assert accepts(after, token(after, NOW + 1), NOW + 1)
        if finished:
            assert disk.calls == fail_at
            assert not accepts(after, old, NOW + 1)
            break
    else:
        pytest.fail("the drop never came to its end")
    assert outcomes == {(3, True), (2, False)}


@pytest.mark.parametrize("error", [Crash, no_space], ids=["crash", "full disk"])
def test_a_first_start_that_stops_anywhere_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    for fail_at in range(200):
        directory = tmp_path / f"keys-{fail_at}"
        with monkeypatch.context() as patch:
            Disk(patch, fail_at, error)
            try:
                open_ring(directory)
            except (Crash, Unavailable):
                finished = False
            else:
                finished = True
        ring = open_ring(directory)
        assert names(directory) == {"ring.json", "lock"} | {f"{i.kind}-{i.id}.key" for i in ring.list(NOW)}
        if finished:
            return
    pytest.fail("the first start never came to its end")


def test_the_index_is_replaced_only_after_the_key_is_durable(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    write_new, replace, sweep = files.write_new, files.replace, files.sweep
    monkeypatch.setattr(files, "write_new", lambda *a: (order.append("key"), write_new(*a)))
    monkeypatch.setattr(files, "replace", lambda *a: (order.append("index"), replace(*a)))
    monkeypatch.setattr(files, "sweep", lambda *a: (order.append("sweep"), sweep(*a)))
    KeyRing.load(directory).rotate("authority", NOW)
    assert order == ["key", "index", "sweep"]
