"""A witness: a log that grows is cosigned; one that went back or is another one is an alarm."""

import shutil
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.cosign import open_cosigned
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.tiles import Load
from jupyter_hpcsec.audit.witness import Witness
from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from tests.audit.records import Place, edit

NAME = "witness.example/w1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "p")
    place.fill(300)
    return place


def load(place: Place) -> Load:
    return lambda path, limit: files.read(place.layout.log / path, limit)


def witness(place: Place, tmp_path: Path, clock: Clock | None = None) -> Witness:
    log = read_verifier(place.layout)
    return Witness(tmp_path / "w", name=NAME, log=log, clock=clock or Clock())


def look(place: Place, tmp_path: Path) -> int:
    """Look once, in a process of its own as it were."""
    each = witness(place, tmp_path)
    try:
        return each.look(load(place)).checkpoint.size
    finally:
        each.close()


def test_a_log_that_grows_is_cosigned(place: Place, tmp_path: Path) -> None:
    assert look(place, tmp_path) == 302
    assert look(place, tmp_path) == 302
    for number in (1, 250, 700):
        place.fill(number)
        size = look(place, tmp_path)
        assert size == place.verify().size
    each = witness(place, tmp_path)
    seen = open_cosigned(each.cosigned.read_bytes(), read_verifier(place.layout), each.key)
    each.close()
    assert seen.checkpoint.size == size
    report = place.verify(cosigned=[(each.key, each.cosigned)])
    assert report.holds
    assert report.witnessed == [f"{NAME} cosigned {size} events at 1970-01-01T00:16:40.000000Z"]


def test_it_needs_no_event(place: Place, tmp_path: Path) -> None:
    look(place, tmp_path)
    place.fill(300)
    shutil.rmtree(place.layout.log / "tile" / "entries")
    assert look(place, tmp_path) == 604


def test_a_log_that_was_rolled_back(place: Place, tmp_path: Path) -> None:
    old = place.copy(tmp_path / "old")
    place.fill(10)
    look(place, tmp_path)
    for _ in range(2):  # and it stays refused
        with pytest.raises(Refused, match="now it has 302") as refused:
            look(old, tmp_path)
        assert refused.value.rule == "witness.rolled-back"
    assert (tmp_path / "w" / "evidence").read_bytes() == old.layout.checkpoint.read_bytes()
    assert look(place, tmp_path) == 314
    # who verifies with what it cosigned sees it too, without the second place
    each = witness(place, tmp_path)
    each.close()
    assert "log.rolled-back" in old.found(second_place=None, cosigned=[(each.key, each.cosigned)])


@pytest.mark.parametrize("number", [300, 301, 1000])
def test_a_log_that_was_written_anew_with_its_own_key(place: Place, tmp_path: Path, number: int) -> None:
    look(place, tmp_path)
    other = Place(tmp_path / "other")
    other.layout.directory.mkdir(mode=0o700)
    for name in ("signer.key", "verifier.key"):
        (other.layout.directory / name).write_bytes((place.layout.directory / name).read_bytes())
        (other.layout.directory / name).chmod(0o600)
    other.fill(number)
    with pytest.raises(Refused, match=r"does not begin with the 302|had 302") as refused:
        look(other, tmp_path)
    assert refused.value.rule == "witness.forked"
    each = witness(place, tmp_path)
    each.close()
    assert "log.forked" in other.found(second_place=None, cosigned=[(each.key, each.cosigned)])


def test_tiles_that_are_gone_are_no_alarm(place: Place, tmp_path: Path) -> None:
    look(place, tmp_path)
    place.fill(300)
    shutil.rmtree(place.layout.log / "tile" / "0")
    with pytest.raises(Unavailable, match="tiles can't be read"):
        look(place, tmp_path)


def test_a_checkpoint_of_another_key(place: Place, tmp_path: Path) -> None:
    look(place, tmp_path)
    other = Place(tmp_path / "other")
    other.fill(400)
    with pytest.raises(Refused, match="no key that is trusted"):
        look_at(place, other, tmp_path)
    with pytest.raises(Refused, match="log with another key"):
        witness(other, tmp_path)


def look_at(place: Place, other: Place, tmp_path: Path) -> None:
    each = witness(place, tmp_path)
    try:
        each.look(load(other))
    finally:
        each.close()


def test_a_witness_that_has_forgotten_is_none(place: Place, tmp_path: Path) -> None:
    look(place, tmp_path)
    kept = tmp_path / "w" / "cosigned"
    data = kept.read_bytes()
    kept.unlink()
    with pytest.raises(Refused, match="does not know what it has seen"):
        look(place, tmp_path)
    kept.write_bytes(data)
    edit(kept, lambda note: note.replace(b"\n302\n", b"\n301\n"))
    with pytest.raises(HpcsecError):
        look(place, tmp_path)
    kept.write_bytes(data)
    assert look(place, tmp_path) == 302


def test_its_time_never_goes_back(place: Place, tmp_path: Path) -> None:
    clock = Clock()
    each = witness(place, tmp_path, clock)
    assert each.look(load(place)).time == 1000
    clock.now = 10.0
    assert each.look(load(place)).time == 1000
    clock.now = 2000.0
    assert each.look(load(place)).time == 2000
    each.close()


def test_one_process_is_the_witness_and_its_key_is_private(place: Place, tmp_path: Path) -> None:
    each = witness(place, tmp_path)
    with pytest.raises(Refused):
        witness(place, tmp_path)
    each.close()
    assert (tmp_path / "w" / "witness.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "w" / "witness.key").chmod(0o644)
    with pytest.raises(Refused, match="chmod 0600"):
        witness(place, tmp_path)


def test_verification_needs_what_was_cosigned(place: Place, tmp_path: Path) -> None:
    look(place, tmp_path)
    each = witness(place, tmp_path)
    each.close()
    assert place.found(cosigned=[(each.key, tmp_path / "none")]) == ["witness.cosignature"]
    edit(each.cosigned, lambda note: note[:-5] + b"/w==\n")  # 255: a signature of Ed25519 ends with 16 at most
    assert place.found(cosigned=[(each.key, each.cosigned)]) == ["witness.cosignature"]
