"""The registry on disk: other programs' files, lost races and damaged rows are refused; a restart finds all of it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.hub.projectstore import FILE, ProjectStore
from jupyter_hpcsec.tunnel.store import Store
from tests.projects.test_values import PROJECT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / FILE


@pytest.fixture
def store(path: Path) -> Iterator[ProjectStore]:
    made = ProjectStore(path)
    yield made
    made.close()


def test_it_is_private(store: ProjectStore, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_sessions_database_is_not_taken_for_it(path: Path) -> None:
    Store(path).close()
    with pytest.raises(Refused) as refusal:
        ProjectStore(path)
    assert refusal.value.rule == "store.foreign"


@pytest.mark.parametrize("revision", [1, 3])
def test_a_lost_race_changes_nothing(store: ProjectStore, revision: int) -> None:
    store.put(PROJECT)
    with pytest.raises(Refused) as refusal:
        store.put(replace(PROJECT, approved_at=7, revision=revision))
    assert refusal.value.rule == "project.changed"
    assert store.get(PROJECT.id) == PROJECT


@pytest.mark.parametrize("value", ["{}", "no json", '{"id": "other"}'])
def test_a_damaged_row_stops_the_start(path: Path, value: str) -> None:
    store = ProjectStore(path)
    store.put(PROJECT)
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE projects SET value = ?", (value,))
    db.close()
    with pytest.raises(Unavailable, match="genomics"):
        ProjectStore(path)


def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    store = ProjectStore(path)
    store.put(PROJECT)
    changed = replace(PROJECT, approved_at=7, review_on="2027-06-30", revision=2)
    store.put(changed)
    store.close()
    again = ProjectStore(path)
    assert again.all() == [changed]
    assert again.get("none-such") is None
    again.close()
    with pytest.raises(Unavailable):
        again.all()
