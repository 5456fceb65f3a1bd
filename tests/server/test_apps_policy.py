"""Apps are there only for a session with a network of its own: by its receipt, and by what the kernel shows."""

import json
from pathlib import Path

import pytest

from jupyter_hpcsec.access.values import Bind
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.server.apps.admission import Apps
from jupyter_hpcsec.server.facts import SESSION_VARIABLE
from tests.server import toyapps
from tests.server.appclient import COOKIE, client
from tests.server.conftest import FACTS, start
from tests.server.toyapps import APP


def apps(directory: Path, *, bind: str | None = "private", route: str = "") -> Apps:
    protections = {} if bind is None else {"bind": bind}
    (directory / "facts").write_text(json.dumps({**FACTS, "protections": protections}))
    (directory / "route").write_text(route)
    return Apps({SESSION_VARIABLE: str(directory / "facts")}, net=directory)


@pytest.mark.parametrize("bind", [None, "", "PRIVATE", *(word for word in Bind if word is not Bind.PRIVATE)])
def test_without_a_private_network_there_are_no_apps(tmp_path: Path, bind: str | None) -> None:
    with pytest.raises(Refused, match="policy of this site"):
        apps(tmp_path, bind=bind).check()


def test_a_receipt_that_the_kernel_contradicts_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not its own"):
        apps(tmp_path, route="eth0\t00000000\t0100000A\n").check()


def test_a_session_with_its_own_network_may_have_apps(tmp_path: Path) -> None:
    made = apps(tmp_path)
    made.check()
    assert made.owner() == "alice"


def test_no_session_and_no_facts_are_no_permission(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Apps({}).check()
    made = apps(tmp_path)
    (tmp_path / "facts").write_text("{}")
    with pytest.raises(Malformed):
        made.check()
    (tmp_path / "facts").write_text(json.dumps(FACTS))
    made.check()  # they were written late


@pytest.mark.parametrize(("bind", "own_network"), [("none", True), ("private", False)])
async def test_the_person_reads_that_the_policy_does_not_allow_it(tmp_path: Path, bind: str, own_network: bool) -> None:
    process = await start(
        tmp_path, bind=bind, own_network=own_network, programs=[toyapps.__file__] if own_network else []
    )
    try:
        async with client(tmp_path, COOKIE) as owner:
            for path in ("", f"{APP}/"):
                answer = await owner.get(path)
                assert answer.status_code == 404
                assert ("policy of this site" if own_network else "not its own") in answer.text
    finally:
        process.terminate()
        process.wait(30)
