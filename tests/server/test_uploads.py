"""Uploads on disk, without a server: any cuts, repetitions and restarts; expiry; what is put in the way."""

import errno
import hashlib
import os
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.access.gate import Gate
from jupyter_hpcsec.access.values import Right
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.server.transfers.kept import OPEN_LIMIT, Kept, Notes
from jupyter_hpcsec.server.transfers.uploads import LIFETIME_S, Failed, Uploads, Why
from tests.server.realserver import rules


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


def made(home: Path, *closed: Path) -> Uploads:
    gate = Gate.of(rules(home, *((path, Right.NONE) for path in closed)))
    return Uploads(lambda: gate, Notes(home / "notes"), Clock())


def put(uploads: Uploads, kept: Kept, data: bytes) -> Kept:
    uploads.write(kept, kept.offset, data)
    return uploads.arrived(kept, kept.offset + len(data))


def partials(home: Path) -> list[Path]:
    return sorted(home.glob(".hpcsec-upload-*"))


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=5000), st.data())
def test_whatever_is_cut_repeated_or_forgotten_the_file_is_whole_in_the_end(data: bytes, draw: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        home = Path(place)
        uploads, target = made(home), str(home / "f")
        kept = uploads.create(target, "f", len(data), "")
        while kept.offset < len(data):
            step = draw.draw(st.sampled_from(["piece", "cut", "restart", "hash"]))
            size = draw.draw(st.integers(1, len(data) - kept.offset))
            if step == "piece":
                kept = put(uploads, kept, data[kept.offset : kept.offset + size])
            elif step == "cut":  # something was written and never counted
                uploads.write(kept, kept.offset, os.urandom(size))
            elif step == "hash":
                uploads.hash_on(kept, size)
            else:
                uploads = made(home)
                kept = uploads.find(kept.id, target, "f")
        assert not Path(target).exists()
        path, facts = uploads.finish(kept, hashlib.sha256(data).digest())
        assert (path, facts.st_size, facts.st_nlink, Path(target).read_bytes()) == (target, len(data), 1, data)
        assert partials(home) == [] and list(uploads.notes.all()) == []


def test_a_swap_at_the_last_moment_gives_the_name_to_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = made(tmp_path)
    kept = put(uploads, uploads.create(str(tmp_path / "f"), "f", 5, ""), b"right")
    (partial,) = partials(tmp_path)
    link, fsync = os.link, os.fsync

    def swapping(descriptor: int) -> None:
        if partial.exists():
            partial.unlink()
            partial.write_bytes(b"wrong")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", swapping)
    with pytest.raises((Failed, OSError)):
        uploads.finish(kept, hashlib.sha256(b"right").digest())
    assert not (tmp_path / "f").exists()

    # without hard links it is seen afterwards
    def unsupported(*_args: object, **_options: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(os, "link", unsupported)
    kept = put(uploads, uploads.create(str(tmp_path / "g"), "g", 5, ""), b"right")
    partial = tmp_path / f".hpcsec-upload-{kept.id}"
    with pytest.raises(Failed) as found:
        uploads.finish(kept, hashlib.sha256(b"right").digest())
    assert found.value.why is Why.CHANGED and not (tmp_path / "g").exists()
    monkeypatch.setattr(os, "fsync", fsync)
    kept = put(uploads, uploads.create(str(tmp_path / "g"), "g", 5, ""), b"right")
    uploads.finish(kept, hashlib.sha256(b"right").digest())
    assert (tmp_path / "g").read_bytes() == b"right"
    monkeypatch.setattr(os, "link", link)


def test_an_end_that_was_cut_between_its_two_names_is_finished(tmp_path: Path) -> None:
    uploads = made(tmp_path)
    kept = put(uploads, uploads.create(str(tmp_path / "f"), "f", 5, ""), b"right")
    os.link(partials(tmp_path)[0], tmp_path / "f")
    uploads.finish(kept, hashlib.sha256(b"right").digest())
    assert (tmp_path / "f").stat().st_nlink == 1 and partials(tmp_path) == []


def test_what_is_not_finished_expires_and_there_are_not_many(tmp_path: Path) -> None:
    uploads = made(tmp_path)
    clock = uploads.clock
    assert isinstance(clock, Clock)
    first = uploads.create(str(tmp_path / "f"), "f", 5, "")
    clock.now += LIFETIME_S - 1
    for number in range(OPEN_LIMIT - 1):
        uploads.create(str(tmp_path / f"f{number}"), "f", 5, "")
    with pytest.raises(Failed) as found:
        uploads.create(str(tmp_path / "g"), "g", 5, "")
    assert found.value.why is Why.MANY
    clock.now += 1
    uploads.create(str(tmp_path / "g"), "g", 5, "")
    with pytest.raises(Failed) as found:
        uploads.find(first.id, str(tmp_path / "f"), "f")
    assert found.value.why is Why.GONE and len(partials(tmp_path)) == OPEN_LIMIT
    clock.now += LIFETIME_S
    uploads.sweep()
    assert partials(tmp_path) == [] and list(uploads.notes.all()) == []


def test_rules_that_changed_meanwhile_hold_for_what_has_begun(tmp_path: Path) -> None:
    uploads = made(tmp_path)
    kept = uploads.create(str(tmp_path / "f"), "f", 5, "")
    now = made(tmp_path, tmp_path / "f")
    for action in (
        lambda: now.find(kept.id, str(tmp_path / "f"), "f"), lambda: now.write(kept, 0, b"x"),
        lambda: now.arrived(kept, 1), lambda: now.hash_on(kept),
    ):  # fmt: skip
        with pytest.raises(Refused):
            action()


def test_no_room_is_said_before_and_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = made(tmp_path)
    with pytest.raises(Failed) as found:
        uploads.create(str(tmp_path / "f"), "f", 2**60, "")
    assert found.value.why is Why.FULL and partials(tmp_path) == []
    kept = uploads.create(str(tmp_path / "f"), "f", 5, "")
    for number in (errno.EDQUOT, errno.ENOSPC):

        def full(*_: object, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(Failed) as found:
            uploads.write(kept, 0, b"x")
        assert found.value.why is Why.FULL and "quota" in found.value.reason


@settings(max_examples=60)
@given(st.binary(max_size=300) | st.from_type(Kept).map(msgspec.json.encode))
def test_notes_that_somebody_wrote_are_no_uploads_of_this_server(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        notes = Notes(Path(place))
        name = "0" * 32
        (Path(place) / f"{name}.json").write_bytes(content)
        for kept in notes.all():
            assert kept.id == name and 0 <= kept.offset <= kept.length and b"/" not in kept.name
