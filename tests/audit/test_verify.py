"""A record that was changed: whatever was done to it, verification says what and where."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.layout import TILE_WIDTH
from jupyter_hpcsec.audit.merkle import leaf_hash, perfect_root
from jupyter_hpcsec.audit.notes import Checkpoint, Signer, open_checkpoint, sign_checkpoint
from jupyter_hpcsec.audit.proofs import Prover
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.audit.tiles import Tiles, decode_bundle, encode_bundle, split_hashes
from jupyter_hpcsec.errors import HpcsecError
from tests.audit.records import ORIGIN, Place, edit

EVENTS = 600


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("whole") / "p")
    place.fill(EVENTS - 10, values=8)
    return place


@pytest.fixture
def place(whole: Place, tmp_path: Path) -> Place:
    return whole.copy(tmp_path / "p")


def entries(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: encode_bundle(change(decode_bundle(data)))


def test_a_whole_record_holds(whole: Place) -> None:
    report = whole.verify()
    assert report.holds, report.findings
    assert report.size == EVENTS
    assert report.values == 8
    assert report.checkpoints >= 1


def swapped(found: list[bytes]) -> list[bytes]:
    return [*found[:7], found[8], found[7], *found[9:]]


@pytest.mark.parametrize(
    ("change", "what", "event"),
    [
        (lambda found: [*found[:7], found[7].replace(b"lane", b"LANE"), *found[8:]], "event.altered", 256 + 7),
        (lambda found: found[:7] + found[8:], "event.dropped", 256 + 7),
        (lambda found: [*found[:8], found[7], *found[8:]], "event.duplicated", 256 + 7),
        (lambda found: [*found[:8], b"{}", *found[8:]], "event.inserted", 256 + 8),
        (lambda found: found[:200], "event.dropped", 256 + 200),
        (swapped, "event.moved", None),
    ],
)
def test_events_that_were_tampered_with_are_named(
    place: Place, change: Callable[[list[bytes]], list[bytes]], what: str, event: int | None
) -> None:
    edit(place.layout.bundle(1), entries(change))
    findings = place.verify().findings
    assert what in {finding.what for finding in findings}
    assert event is None or event in {finding.first for finding in findings if finding.what == what}


def test_events_swapped_between_bundles(place: Place) -> None:
    zero, one = (decode_bundle(place.layout.bundle(n).read_bytes()) for n in (0, 1))
    zero[3], one[5] = one[5], zero[3]
    place.layout.bundle(0).write_bytes(encode_bundle(zero))
    place.layout.bundle(1).write_bytes(encode_bundle(one))
    swaps = {finding.first for finding in place.verify().findings if finding.what == "event.swapped"}
    assert swaps == {3, 256 + 5}


def test_an_event_altered_together_with_its_hash(place: Place) -> None:
    """Both witnesses changed alike: the tile above decides."""
    found = decode_bundle(place.layout.bundle(1).read_bytes())
    found[9] = found[9].replace(b"lane", b"LANE")
    place.layout.bundle(1).write_bytes(encode_bundle(found))
    edit(place.layout.tile(0, 1), lambda data: data[: 9 * 32] + leaf_hash(found[9]) + data[10 * 32 :])
    findings = place.verify().findings
    assert any(f.what == "tree.root" for f in findings)


def test_the_end_cut_off_everywhere(place: Place) -> None:
    """Tiles, entries and checkpoint of an earlier time: only the second place knows."""
    key = read_verifier(place.layout)
    signer = Signer.parse(place.layout.signer.read_text().strip())
    for path in [*place.layout.log.rglob("*.p/*"), *place.layout.values.iterdir()]:
        path.unlink()
    kept = 2 * TILE_WIDTH
    rows = [perfect_root(split_hashes(place.layout.tile(0, number).read_bytes())) for number in (0, 1)]
    place.layout.tile(1, 0, 2).write_bytes(b"".join(rows))
    root = Tiles(place.layout, kept).frontier().root()
    place.layout.checkpoint.write_bytes(sign_checkpoint(signer, Checkpoint(ORIGIN, kept, root)))
    assert place.found(second_place=None) == []  # this is why there is a second place
    rolled = [f for f in place.verify().findings if f.what == "log.rolled-back"]
    assert (rolled[-1].first, rolled[-1].last) == (kept, EVENTS - 1)  # by the last checkpoint that the second place has
    old = open_checkpoint(whole_note(place), key, ORIGIN)
    assert "log.rolled-back" in place.found(second_place=None, since=old)
    with pytest.raises(HpcsecError, match="rolled back"):
        place.open()


def whole_note(place: Place) -> bytes:
    return base64.b64decode(place.second.read_bytes().splitlines()[-1])


def test_a_record_written_anew_with_its_own_key(place: Place) -> None:
    """Whoever holds the key can write another log: the second place, or a checkpoint that was kept, says so."""
    other = Place(place.directory / "other")
    other.layout.directory.mkdir(mode=0o700)
    for name in ("signer.key", "verifier.key"):
        (other.layout.directory / name).write_bytes((place.layout.directory / name).read_bytes())
        (other.layout.directory / name).chmod(0o600)
    other.fill(EVENTS + 50)
    assert other.found() == []
    assert "log.forked" in other.found(second_place=place.second)


def test_files_that_are_gone_or_were_added(place: Place) -> None:
    place.layout.tile(0, 1).unlink()
    (place.layout.log / "tile" / "0" / "777").write_bytes(bytes(8192))
    (place.layout.directory / "extra").write_text("x")
    assert {"tile.missing", "file.stray"} <= set(place.found())


def test_missing_checkpoint_missing_bundle_missing_second_place(place: Place) -> None:
    place.layout.checkpoint.unlink()
    assert "checkpoint.broken" in place.found()
    place.layout.bundle(0).unlink()
    found = place.verify().findings
    missing = next(f for f in found if f.what == "bundle.missing")
    assert (missing.first, missing.last) == (0, 255)
    place.second.unlink()
    assert "second-place.missing" in place.found()


def test_another_key_than_was_expected(place: Place) -> None:
    assert "key.public" in place.found(verifier=Signer.make(ORIGIN).verifier)


def test_values_that_were_changed_removed_or_added(place: Place) -> None:
    path = next(iter(sorted(place.layout.values.iterdir())))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    assert "value.gone" in place.found()
    path.write_bytes(b"".join([*lines, lines[0]]))
    assert "value.stray" in place.found()
    encoded = base64.b64encode(b"print(0)")
    assert encoded in lines[0]
    path.write_bytes(b"".join([lines[0].replace(encoded, base64.b64encode(b"print(9)")), *lines[1:]]))
    assert place.found() == ["value.altered"]


def test_one_event_by_its_proof(place: Place) -> None:
    key = read_verifier(place.layout)
    prover = Prover(place.layout, key)
    assert prover.head.size == EVENTS
    assert b'"seq":301' in prover.one(300).leaf
    assert [proved.index for proved in prover.prove([5, 300, 2])] == [5, 300, 2]
    edit(place.layout.bundle(1), entries(swapped))
    with pytest.raises(HpcsecError, match="not the one that was signed"):
        Prover(place.layout, key).one(256 + 7)
    with pytest.raises(HpcsecError, match="not under a checkpoint"):
        Prover(place.layout, key).one(EVENTS)


def test_every_bit_of_the_small_files(whole: Place, tmp_path: Path) -> None:
    """Keys and checkpoint: all bits, since chance seldom meets them."""
    place = whole.copy(tmp_path / "p")
    for path in (place.layout.checkpoint, place.layout.verifier, place.layout.signer):
        before = path.read_bytes()
        for bit in range(0, len(before) * 8, 5):
            changed = bytearray(before)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bytes(changed))
            assert not place.verify(second_place=None).holds, (path.name, bit)
        path.write_bytes(before)


def test_a_record_without_a_checkpoint_proves_nothing(place: Place) -> None:
    place.layout.checkpoint.unlink()
    with pytest.raises(HpcsecError, match="no checkpoint yet"):
        Prover(place.layout, read_verifier(place.layout))
