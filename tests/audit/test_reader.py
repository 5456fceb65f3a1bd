"""Reading beside a writer: every event once, in order, whatever is published meanwhile."""

import json
import threading
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.kinds.connections import LaneOpened
from jupyter_hpcsec.audit.notes import Signer
from jupyter_hpcsec.audit.reader import Reader
from jupyter_hpcsec.audit.recovery import read_verifier
from jupyter_hpcsec.errors import HpcsecError
from tests.audit.records import ORIGIN, Place


def test_every_event_once_while_it_is_written_and_published(tmp_path: Path) -> None:
    place = Place(tmp_path / "p")
    log = place.open(checkpoint_s=0.01)
    number = 1500

    def write() -> None:
        for each in range(number):
            log.record(LaneOpened(session=str(each)), "gateway").result(20)

    writer = threading.Thread(target=write)
    writer.start()
    reader = Reader(place.layout, log.verifier)
    seen: list[int] = []
    while writer.is_alive() or len(seen) < number + 1:
        for index, leaf in reader.durable(len(seen)):
            assert index == len(seen)
            seen.append(json.loads(leaf)["seq"])
    writer.join()
    log.close()
    assert seen[: number + 1] == list(range(1, number + 2))


def test_an_empty_record_and_another_key(tmp_path: Path) -> None:
    place = Place(tmp_path / "p")
    log = place.open(checkpoint_s=3600)
    reader = Reader(place.layout, log.verifier)
    assert reader.checkpoint().size == 0
    log.close()
    assert reader.checkpoint().size == 2
    assert [index for index, _ in reader.durable(1)] == [1]
    assert list(reader.durable(2)) == []
    assert read_verifier(place.layout) == log.verifier
    with pytest.raises(HpcsecError):
        Reader(place.layout, Signer.make(ORIGIN).verifier).checkpoint()
