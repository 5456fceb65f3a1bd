"""The stand-in library, compiled once; a state file that drives it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.gpu import standin

Write = Callable[..., None]


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.build(tmp_path_factory.mktemp("standin"))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Call it with the lines of the state file."""
    path = tmp_path / "state"
    monkeypatch.setenv(standin.STATE_VARIABLE, str(path))

    def write(*lines: str) -> None:
        standin.write_state(path, lines)

    write()
    yield write
    # the library lives as long as this Python: the next test shall not find these GPUs
    write()
