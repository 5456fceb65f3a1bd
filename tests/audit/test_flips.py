"""Single bits flipped anywhere in a record's directory: verification finds every one."""

import contextlib
import os
import random
import shutil
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.index import Index
from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.kinds.record import AuditShredded
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.errors import HpcsecError
from tests.audit.records import Place, edit
from tests.audit.test_log import until

FLIPS = int(os.environ.get("HPCSEC_TEST_FLIPS", "600"))


def crash(place: Place, number: int) -> None:
    """Leave the record as a crash would: events that are durable, in the journal only."""
    kept = place.directory.with_name("crashed")
    log = place.open(checkpoint_s=3600)
    for i in range(number):
        log.record(LaneOpened(session=str(i)), "gateway").result(60)
    shutil.copytree(place.directory, kept)
    log.close()
    shutil.rmtree(place.directory)
    kept.rename(place.directory)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A record that has all that a record can have."""
    place = Place(tmp_path_factory.mktemp("whole") / "p")
    place.fill(700, values=8)
    log = place.open()
    # sealed values, one of them shredded, and bundles that were removed
    leaf = log.record(SessionEnded(), "gateway", {"source": b"1", "outputs": b"2"}).result(60)
    assert log.shred(leaf, "source", AuditShredded(leaf=leaf, name="source"))
    until(lambda: log.health().published > leaf, 60)
    assert log.retain("2999", "", Subject(account="uid 0")).events == 512
    log.record(SessionEnded(), "gateway", {"source": b"3"}).result(60)
    log.close()
    # an unfinished write, set aside
    crash(place, 3)
    (segment,) = place.layout.journal.iterdir()
    edit(segment, lambda data: data.rstrip(b"\0") + data[:50])
    log = place.open()
    until(lambda: "audit.set-aside" in kinds_left(place), 60)
    log.close()
    # batches that no checkpoint holds yet
    crash(place, 3)
    assert place.verify().in_journal
    assert place.found() == []
    return place


def kinds_left(place: Place) -> str:
    return "".join(leaf.decode() for _, leaf in Reader(place.layout, read_verifier(place.layout)).durable(0))


def test_the_record_has_everything(whole: Place) -> None:
    parts = {path.relative_to(whole.directory).parts[:2][-1] for path in whole.files()}
    assert parts == {"journal", "log", "removed", "set-aside", "signer.key", "values", "verifier.key", "checkpoints"}
    assert kinds_left(whole).count("audit.pruned") == 2


@pytest.mark.timeout(3600)
def test_every_flipped_bit_is_found(whole: Place, tmp_path: Path) -> None:
    """Half of them in files by their size, half in whichever file: the small ones count as much as the large."""
    place = whole.copy(tmp_path / "p")
    chance = random.Random(20260101)  # noqa: S311 - a repeatable choice of bits
    paths = place.files()
    weights = [path.stat().st_size for path in paths]
    missed = []
    for number in range(FLIPS):
        path = chance.choices(paths, weights if number % 2 else None)[0]
        before = path.read_bytes()
        bit = chance.randrange(len(before) * 8)
        path.write_bytes(flipped(before, bit))
        if place.verify().holds:
            missed.append((path, bit))
        path.write_bytes(before)
    assert not missed
    assert place.verify().holds


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


QUESTIONS = [
    Question(),
    Question(user="uid 0"),
    Question(text="lane.opened"),
    Question(kind="session.*", session="00000000000000000000000000000003"),
    Question(newest=True, limit=10),
]


@pytest.mark.timeout(3600)
def test_a_flipped_bit_of_the_index_is_found_or_changes_no_answer(whole: Place, tmp_path: Path) -> None:
    """SQLite's pages have room that nothing reads; a bit there says nothing."""
    place = whole.copy(tmp_path / "p")
    layout, key = place.layout, read_verifier(place.layout)
    with contextlib.closing(Index(layout.index, Reader(layout, key), key)) as index:
        index.catch_up()
        right = [index.ask(question) for question in QUESTIONS]
    before = layout.index.read_bytes()
    chance = random.Random(3)  # noqa: S311
    found = 0
    for _ in range(FLIPS // 6):
        layout.index.write_bytes(flipped(before, chance.randrange(len(before) * 8)))
        try:
            with contextlib.closing(Index(layout.index, Reader(layout, key), key)) as index:
                if index.differences():
                    found += 1
                else:
                    index.catch_up()
                    assert [index.ask(question) for question in QUESTIONS] == right
        except HpcsecError:
            found += 1
    assert found
