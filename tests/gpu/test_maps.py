"""Root's maps: what is written is what the watch reads, in one step, and through no link."""

import os
import stat
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.gpu import maps
from jupyter_hpcsec.gpu.launch import read_map
from jupyter_hpcsec.gpu.samples import Allocation

ME = frozenset([os.getuid()])
MINE = Allocation(job="17", devices=("GPU-0", "GPU-1"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "hpcsec" / "gpu"


def test_what_is_written_is_read_by_everybody_and_goes(place: Path) -> None:
    before = os.umask(0o077)
    try:
        path = maps.write(MINE, place)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (place.parent, place, path)] == [0o755, 0o755, 0o644]
    assert read_map("17", place, ME) == MINE
    maps.write(Allocation(job="17"), place)
    assert read_map("17", place, ME) == Allocation(job="17")
    assert [each.name for each in place.iterdir()] == ["17.json"]
    assert maps.remove("17", place) and not maps.remove("17", place)


@pytest.mark.parametrize("job", ["", "..", "../17", "a/b"])
def test_no_job_id(place: Path, job: str) -> None:
    with pytest.raises(Malformed):
        maps.write(Allocation(job=job), place)
    with pytest.raises(Malformed):
        maps.remove(job, place)
    assert not place.exists()


def test_no_longer_than_what_is_read(place: Path) -> None:
    with pytest.raises(Malformed, match="longer"):
        maps.write(Allocation(job="17", devices=("GPU-" + "0" * 80,) * 1000), place)


def test_a_link_is_replaced_and_never_followed(place: Path, tmp_path: Path) -> None:
    place.mkdir(parents=True)
    other = tmp_path / "other"
    other.write_text("stays")
    (place / "17.json").symlink_to(other)
    maps.write(MINE, place)
    assert other.read_text() == "stays" and not (place / "17.json").is_symlink()
    (place / "18.json").symlink_to(other)
    assert maps.remove("18", place) and other.exists()


def test_a_directory_that_is_a_link_or_that_others_may_change_is_refused(place: Path, tmp_path: Path) -> None:
    place.mkdir(parents=True)
    place.chmod(0o777)
    with pytest.raises(Refused, match="others"):
        maps.write(MINE, place)
    place.chmod(0o755)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        maps.write(MINE, place)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_other_jobs_hold(place: Path) -> None:
    assert maps.others("17", place) == frozenset()
    maps.write(MINE, place)
    maps.write(Allocation(job="18", devices=("GPU-1",)), place)
    (place / "19.json").write_text("{")
    assert maps.others("17", place) == {"GPU-1"}
    assert maps.others("20", place) == {"GPU-0", "GPU-1"}
