"""Jupyter's handlers, of a server of nobody's making inside the sandbox: the kernel alone holds the policy there."""

import os
import sys
from collections.abc import Iterator

import pytest

from jupyter_hpcsec.ops.attack.handlers import demand
from jupyter_hpcsec.ops.attack.suite import ATTEMPTS
from jupyter_hpcsec.ops.attack.targets import Server
from jupyter_hpcsec.ops.attack.values import Attempt, Group
from tests.ops.attack.world import INSIDE, TOKEN, Report, World, jupyter_server

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as a user of its own here, which takes root"),
    pytest.mark.timeout(300),
]

ELSEWHERE = ("jupyter.token", "jupyter.secrets")
"""What a kernel's own sandbox stops: see ``test_in_session``."""
HANDLERS = [attempt for attempt in ATTEMPTS if attempt.group is Group.JUPYTER and attempt.id not in ELSEWHERE]


@pytest.fixture(scope="module")
def report(world: World) -> Iterator[Report]:
    """The suite runs outside, so that it can see whether something happened; the server is inside."""
    inside = [sys.executable, str(INSIDE), str(world.base), str(world.base / "runtime"), "none"]
    with jupyter_server(world, inside):
        yield world.attack("--only=jupyter")


@pytest.mark.parametrize("attempt", HANDLERS, ids=[attempt.id for attempt in HANDLERS])
def test_it_is_refused(attempt: Attempt, report: Report) -> None:
    assert report.attempts[attempt.id]["outcome"] == "refused", report.attempts[attempt.id]


def test_without_a_token_the_server_says_nothing(world: World, report: Report) -> None:
    found = world.attack("--only=jupyter.token", "--token=").attempts["jupyter.token"]
    assert found["outcome"] == "refused", found


def test_what_is_allowed_works(world: World, report: Report) -> None:
    """The server answers at all: a refusal of everything would show nothing."""
    assert report.attempts["jupyter.token"]["outcome"] == "succeeded"
    assert "lost all rounds" in report.attempts["jupyter.race"]["detail"]
    server = Server(address=world.server, token=TOKEN)
    kernel = demand(server, "POST", "api/kernels", {"path": "home/work/x.ipynb"})
    demand(server, "DELETE", f"api/kernels/{kernel['id']}")
