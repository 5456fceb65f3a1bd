"""What a user leaves in the directory where a job stands is not imported."""

import importlib
import sys
from pathlib import Path

import pytest

from jupyter_hpcsec.access.search_path import leave_working_directory

HOOK = "__editable__.something.finder.__path_hook__"


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / HOOK).mkdir()
    (tmp_path / HOOK / "hpcsec_planted.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, HOOK])
    monkeypatch.delitem(sys.modules, "hpcsec_planted", raising=False)
    importlib.invalidate_caches()
    return "hpcsec_planted"


def test_without_the_defence_a_planted_module_is_imported(planted: str) -> None:
    importlib.import_module(planted)


def test_with_it_only_absolute_places_are_searched(planted: str) -> None:
    leave_working_directory()
    importlib.invalidate_caches()
    assert all(place.startswith("/") for place in sys.path)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(planted)
