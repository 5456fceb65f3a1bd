"""What a program is answered whose server was ended: why, for those whose server it is and for nobody else."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_hpcsec.hub import endpages
from jupyter_hpcsec.hub.ending import Ended

ENDED = Ended("call security", "staff")
GPU = Ended("the GPUs are needed", "staff")


class Handler:
    """Of JupyterHub's, what is used."""

    def __init__(self, reader: str = "", kind: str = "user", scopes: tuple[str, ...] = ()) -> None:
        self.current_user = SimpleNamespace(name=reader, kind=kind) if reader else None
        self.scopes, self.written = scopes, ""

    def find_user(self, name: str) -> Any:
        servers = {"": SimpleNamespace(ended=ENDED), "gpu": SimpleNamespace(ended=GPU), "x": SimpleNamespace()}
        user = SimpleNamespace(name="alice", spawners=servers, orm_user=SimpleNamespace(orm_spawners=servers))
        return user if name == "alice" else None

    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes

    def write(self, chunk: str) -> None:
        self.written += chunk

    def _fail_api_request(self, user_name: str = "", server_name: str = "") -> None:
        self.write(json.dumps({"message": "not running"}))


@pytest.fixture(autouse=True)
def installed() -> None:
    endpages.install(Handler)
    endpages.install(Handler)


def answer(handler: Handler, *asked: str) -> Any:
    handler._fail_api_request(*asked)
    return json.loads(handler.written)


@pytest.mark.parametrize(
    ("handler", "server"),
    [
        (Handler(), ""),
        (Handler("bob"), ""),
        (Handler("alice", "service"), ""),
        (Handler("bob", scopes=("access:servers!server=alice/gpu",)), ""),
        (Handler("alice"), "x"),
        (Handler("alice"), "unknown"),
    ],
)
def test_nobody_else_learns_it(handler: Handler, server: str) -> None:
    assert answer(handler, "alice", server) == {"message": "not running"}


def test_its_user_and_who_may_see_the_server_do() -> None:
    assert answer(Handler("alice"), "alice") == {
        "message": f"{ENDED.sentence}. not running",
        "hpcsec_ended": ENDED.sentence,
    }
    guest = Handler("bob", scopes=("access:servers!server=alice/gpu",))
    assert answer(guest, "alice", "gpu")["hpcsec_ended"] == GPU.sentence
    assert answer(Handler("alice"), "bob") == {"message": "not running"}
