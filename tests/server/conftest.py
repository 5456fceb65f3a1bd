"""One session with apps for all tests of the app proxy: it takes seconds to start, and nothing in it is changed."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

import jupyter_hpcsec
from jupyter_hpcsec.hub.readiness import wait_until_ready
from jupyter_hpcsec.server.apps.hints import hints
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from tests.server import appsession, toyapps
from tests.server.appclient import COOKIE, client

PACKAGE = Path(jupyter_hpcsec.__file__).parent
FACTS = {
    "user": "alice", "server": "", "session": "0" * 32, "job": "17", "node": "n1", "ends_at": 1,
    "endpoints": [], "ca_pin": "", "protections": {"bind": "private"},
}  # fmt: skip


async def start(
    directory: Path, *, bind: str = "private", own_network: bool = True, programs: Sequence[str] = (toyapps.__file__,)
) -> "subprocess.Popen[bytes]":
    """The session's server, and ``programs`` in the same network; returns when the server answers."""
    facts = {**FACTS, "protections": {"bind": bind}}
    (directory / "facts").write_text(json.dumps(facts))
    env = {
        "PATH": os.environ["PATH"], "HOME": str(directory), "JUPYTER_CONFIG_PATH": str(PACKAGE / "server"),
        "JUPYTER_CONFIG_DIR": str(directory), "JUPYTER_RUNTIME_DIR": str(directory),
        SESSION_VARIABLE: str(directory / "facts"), "PYTHONPATH": str(Path(__file__).parents[2]),
        **hints("/user/alice/"),
    }  # fmt: skip
    alone = ["unshare", "--user", "--map-root-user", "--net"] if own_network else []
    process = subprocess.Popen(  # noqa: ASYNC220 - a fork and an exec
        [*alone, sys.executable, appsession.__file__, str(directory), *programs],
        env=env, cwd=directory, stderr=(directory / "log").open("wb"),
    )  # fmt: skip
    try:
        await asyncio.wait_for(wait_until_ready(directory / "s", "/user/alice/api"), 60)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a running session; its server's socket is ``s``."""
    directory = tmp_path_factory.mktemp("s")
    process = asyncio.run(start(directory))
    yield directory
    process.terminate()
    process.wait(30)


@pytest.fixture
async def alice(session: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The owner's browser, on a page of this site."""
    async with client(session, COOKIE) as made:
        yield made
