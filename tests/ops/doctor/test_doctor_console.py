"""The console as a visitor and the hub's client: each break has its own line and fix, and no token is printed."""

from pathlib import Path

import pytest

from jupyter_hpcsec.ops.doctor import console
from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Finding, Status
from jupyter_hpcsec.ops.doctor.world import FileFact, HttpAnswer

URL, API = "https://hub.example/base/", "http://127.0.0.1:8081/base/hub/api"
FIRST = "https://hub.example/base/services/hpcsec/live"
TOKEN, SECRET = Path("/etc/hpcsec/console.token"), "5e" * 32
BACK = "%2Fbase%2Fservices%2Fhpcsec%2Foauth_callback"
RIGHT = f"/base/hub/api/oauth2/authorize?client_id=service-hpcsec&redirect_uri={BACK}&response_type=code&state=x"


def seen(world: FakeWorld) -> list[Finding]:
    found = console.examine(world, URL, API, TOKEN)
    assert not any(SECRET in f"{each.what}{each.fix}" for each in found)
    return found


@pytest.mark.parametrize(
    ("status", "location", "expected", "said"),
    [
        (503, "", Status.BAD, "hpcsec-console"),
        (403, "", Status.BAD, "c.HpcsecConsole.hosts"),
        (404, "", Status.WARN, "docs/admins/console.md"),
        (302, "/base/hub/services/hpcsec/live", Status.WARN, "docs/admins/console.md"),
        (302, RIGHT.replace("service-hpcsec", "service-other"), Status.BAD, "client_id = 'service-hpcsec'"),
        (302, RIGHT.replace("%2Fbase%2Fservices", "%2Fservices"), Status.BAD, "'/base/services/hpcsec/'"),
    ],
)
def test_what_a_visitor_meets(world: FakeWorld, status: int, location: str, expected: Status, said: str) -> None:
    world.answers = {FIRST: HttpAnswer(status, {"location": location})}
    (found,) = seen(world)
    assert (found.hop, found.status) == ("console", expected) and said in found.fix


def test_nobody_answers(world: FakeWorld) -> None:
    (found,) = seen(world)
    assert found.status is Status.UNKNOWN and "public url" in found.fix


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (HttpAnswer(401, {}), Status.BAD, "api_token"),
        (HttpAnswer(500, {}), Status.UNKNOWN, "hub's log"),
        (ConnectionRefusedError(111, "Connection refused"), Status.UNKNOWN, "hub api"),
        (HttpAnswer(400, {}), Status.OK, ""),
    ],
)
def test_whether_the_hub_knows_it(world: FakeWorld, answer: HttpAnswer | OSError, expected: Status, said: str) -> None:
    world.answers = {FIRST: HttpAnswer(302, {"location": RIGHT}), f"{API}/oauth2/token": answer}
    world.files, world.texts = {str(TOKEN): FileFact(0o600, 900, "file")}, {str(TOKEN): f"{SECRET}\n"}
    visit, client = seen(world)
    assert visit.status is Status.OK
    assert client.status is expected and said in client.fix
    assert f"client_secret={SECRET}".encode() in world.sent[0]


def test_a_token_that_can_not_be_read(world: FakeWorld) -> None:
    world.answers = {FIRST: HttpAnswer(302, {"location": RIGHT})}
    world.files = {str(TOKEN): FileFact(0o600, 900, "file")}
    assert [each.status for each in seen(world)] == [Status.OK, Status.UNKNOWN]
