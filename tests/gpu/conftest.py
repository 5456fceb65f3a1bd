"""The stand-in library, compiled once; a state file that drives it; what runs beside a test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from jupyter_hpcsec.gpu import standin

Write = Callable[..., None]


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Beside what is within; ended with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


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
