"""A record that many processes read: they find what one finds."""

import os
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import verify_read
from jupyter_hpcsec.audit.verify_read import Tile, read_all
from jupyter_hpcsec.errors import Unavailable
from tests.audit.records import Place, edit

EVENTS = verify_read.STRETCH * 256 * 2 + 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("whole") / "p")
    place.fill(EVENTS, values=4)
    place.fill(0)
    return place


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_read, "WORTH", 1)


def test_many_find_what_one_finds(whole: Place, tmp_path: Path) -> None:
    place = whole.copy(tmp_path / "p")
    assert vars(place.verify(processes=3)) == vars(place.verify(processes=1))
    assert place.verify(processes=3).holds
    bundle = place.layout.bundle
    edit(bundle(3), lambda data: data.replace(b"lane", b"LANE", 2))
    edit(bundle(20), lambda data: data[:-3])
    bundle(17).unlink()
    edit(place.layout.tile(0, 21), lambda data: bytes(32) + data[32:])
    edit(place.layout.tile(0, 22), lambda data: data[:-5])
    one, many = place.verify(processes=1), place.verify(processes=3)
    assert vars(one) == vars(many)
    assert {"event.altered", "bundle.missing", "bundle.malformed", "tile.altered", "tile.malformed"} <= {
        finding.what for finding in many.findings
    }
    assert "numbering.hole" not in {finding.what for finding in many.findings}  # a missing bundle is told of once


def test_progress_comes_in_order(whole: Place) -> None:
    size = whole.verify().size
    seen: list[int] = []
    read_all(whole.layout, size, lambda done, of: seen.append(done), processes=2)
    assert seen == sorted(seen)
    assert seen[-1] == size


def test_a_process_that_is_killed_is_said() -> None:
    with pytest.raises(Unavailable, match="--processes 1"), verify_read._mapping(2, 1) as over:
        list(over(os._exit, [1]))


def test_tiles() -> None:
    tile = Tile(bytes(64))
    assert len(tile) == 2
    assert tile == Tile(bytes(64)) != Tile(bytes(32))
    assert tile.cut(1) == Tile(bytes(32))
    assert tile.hashes == [bytes(32)] * 2
