"""The Splunk sink against a stand-in: the cursor waits for the indexer, and what is refused is named."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks import splunk
from jupyter_hpcsec.audit.sinks.items import Source
from jupyter_hpcsec.audit.sinks.splunk import SplunkTarget
from jupyter_hpcsec.config_forward import SplunkSink
from jupyter_hpcsec.errors import Malformed, Unavailable
from tests.audit.records import Place
from tests.audit.sinks.certificates import Issuer
from tests.audit.sinks.receiving import add, cursor, forwarder, numbers, running, until
from tests.audit.sinks.standin import Hec, HecHandler, Server
from tests.audit.sinks.test_file import item


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splunk, "POLL_S", 0.01)


@pytest.fixture
def hec() -> Hec:
    return Hec()


@pytest.fixture
async def server(tmp_path: Path, hec: Hec) -> AsyncIterator[Server]:
    made = Server(tmp_path, HecHandler, hec)
    yield made
    await made.stop()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret-token\n")
    path.chmod(0o600)
    return path


def target(server: Server, token: Path, **changes: Any) -> SplunkTarget:
    given = {"url": server.url, "ca_file": str(server.issuer.ca), "token_file": str(token)}
    return SplunkTarget(SplunkSink(**(given | changes)))


async def test_a_certificate_that_does_not_hold(server: Server, hec: Hec, token: Path, tmp_path: Path) -> None:
    refused = target(server, token, ca_file=str(Issuer(tmp_path / "other").ca))
    with pytest.raises(Unavailable, match="certificate"):
        await refused.send([item(0)])
    await refused.close()
    assert not hec.events


async def test_a_wrong_token_is_said_and_never_shown(server: Server, hec: Hec, token: Path) -> None:
    token.write_text("wrong-token\n")
    refused = target(server, token)
    with pytest.raises(Unavailable, match="Check token_file") as error:
        await refused.send([item(0)])
    await refused.close()
    assert "wrong-token" not in str(error.value)
    token.write_text("two\nlines")
    with pytest.raises(Malformed, match="one line"):
        await target(server, token).send([item(0)])


async def test_events_wait_for_the_indexer(server: Server, hec: Hec, token: Path) -> None:
    hec.late = 3
    sending = target(server, token, index="security")
    assert await sending.send([item(0), item(1)]) == []
    await sending.close()
    assert hec.asked == {0: 3}
    assert [event["event"]["seq"] for event in hec.events] == [0, 1]
    assert (hec.events[0]["index"], hec.events[0]["time"]) == ("security", 1772366400.0)


async def test_what_is_never_indexed_is_sent_again(server: Server, hec: Hec, token: Path) -> None:
    hec.late = 1 << 30
    sending = target(server, token, ack_s=0.1)
    with pytest.raises(Unavailable, match="not indexed"):
        await sending.send([item(0)])
    await sending.close()


async def test_a_token_without_acknowledgement(server: Server, hec: Hec, token: Path) -> None:
    hec.ack = False
    sending = target(server, token)
    with pytest.raises(Unavailable, match="ack = False"):
        await sending.send([item(0)])
    await sending.close()
    sending = target(server, token, ack=False, format="ocsf")
    assert await sending.send([item(1)]) == []
    await sending.close()
    assert hec.events[-1]["event"]["metadata"]["uid"] == "id-1"


async def test_what_is_refused_for_itself_comes_back_and_the_rest_arrives(
    server: Server, hec: Hec, token: Path
) -> None:
    hec.refuses = {"id-1", "id-3"}
    sending = target(server, token)
    rejected = await sending.send([item(n) for n in range(5)])
    await sending.close()
    assert [each.item.id for each in rejected] == ["id-1", "id-3"]
    assert {event["fields"]["event_id"] for event in hec.events} == {"id-0", "id-2", "id-4"}


@pytest.mark.parametrize(
    "answer",
    [
        (503, {"text": "Server is busy", "code": 9}),
        (400, {"text": "Incorrect index", "code": 7}),
        (200, {"text": "?", "code": 6, "invalid-event-number": 99}),
        (500, {}),
    ],
)
async def test_what_another_time_may_do_is_tried_again(
    server: Server, hec: Hec, token: Path, answer: tuple[int, dict[str, Any]]
) -> None:
    hec.answers = [answer]
    sending = target(server, token)
    with pytest.raises(Unavailable):
        await sending.send([item(0)])
    assert await sending.send([item(0)]) == []
    await sending.close()
    assert len(hec.events) == 1


async def test_the_record_arrives_whole_through_failures(server: Server, hec: Hec, token: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "record")
    log = place.open()
    files.make_directory(tmp_path / "state")
    hec.answers = [(503, {"text": "Server is busy", "code": 9})] * 2
    add(log, 30)
    async with running(forwarder(target(server, token), Source(place.layout.directory), tmp_path / "state")):
        await until(lambda: (tmp_path / "state" / "test.cursor").exists(), "a cursor")
        await until(lambda: cursor(tmp_path / "state").next >= 31, "all of it")
    log.close()
    assert numbers([event["event"] for event in hec.events]) == list(range(30))
