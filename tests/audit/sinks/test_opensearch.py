"""The OpenSearch sink against a stand-in: nothing twice, nothing lost, and what is refused is named."""

import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.audit.sinks.items import Source
from jupyter_hpcsec.audit.sinks.opensearch import OpenSearchTarget
from jupyter_hpcsec.config_forward import OpenSearchSink
from jupyter_hpcsec.errors import Refused, Unavailable
from tests.audit.records import Place
from tests.audit.sinks.certificates import Issuer
from tests.audit.sinks.receiving import add, cursor, forwarder, numbers, running, until
from tests.audit.sinks.standin import Bulk, BulkHandler, Server
from tests.audit.sinks.test_file import item


@pytest.fixture
def bulk() -> Bulk:
    return Bulk()


@pytest.fixture
async def server(tmp_path: Path, bulk: Bulk) -> AsyncIterator[Server]:
    made = Server(tmp_path, BulkHandler, bulk)
    yield made
    await made.stop()


def target(server: Server, **changes: Any) -> OpenSearchTarget:
    given = {"urls": [server.url], "ca_file": str(server.issuer.ca)}
    return OpenSearchTarget(OpenSearchSink(**(given | changes)))


async def test_a_certificate_that_does_not_hold(server: Server, bulk: Bulk, tmp_path: Path) -> None:
    for wrong in ({"ca_file": str(Issuer(tmp_path / "other").ca)}, {"urls": [f"https://127.0.0.1:{server.port}"]}):
        refused = target(server, **wrong)
        with pytest.raises(Unavailable):
            await refused.send([item(0)])
        await refused.close()
    assert not bulk.documents


async def test_documents_are_made_once(server: Server, bulk: Bulk) -> None:
    sending = target(server, index="hpcsec-%Y.%m")
    assert await sending.send([item(0), item(1)]) == []
    assert await sending.send([item(1), item(2)]) == []
    await sending.close()
    assert [name for _, name in bulk.documents] == ["id-0", "id-1", "id-2"]
    assert bulk.statuses == {201: 3, 409: 1}
    document = bulk.documents["hpcsec-2026.03", "id-0"]
    assert (document["@timestamp"], document["reason"]) == ("2026-03-01T12:00:00.000000Z", "é")


async def test_ocsf_documents(server: Server, bulk: Bulk) -> None:
    sending = target(server, format="ocsf")
    await sending.send([item(0)])
    await sending.close()
    assert bulk.documents["hpcsec-audit", "id-0"]["metadata"]["uid"] == "id-0"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(503, "503"), (401, "password_file"), (403, "may not write"), (413, "lower batch"), (429, "429")],
)
async def test_what_another_time_may_do_is_tried_again(server: Server, bulk: Bulk, answer: int, said: str) -> None:
    bulk.answers = [answer]
    sending = target(server)
    with pytest.raises(Unavailable, match=said):
        await sending.send([item(0), item(1)])
    assert await sending.send([item(0), item(1)]) == []
    await sending.close()
    assert {name for _, name in bulk.documents} == {"id-0", "id-1"}


async def test_what_is_refused_for_itself_comes_back(server: Server, bulk: Bulk) -> None:
    bulk.refuses = {"id-1"}
    sending = target(server)
    (rejected,) = await sending.send([item(0), item(1), item(2)])
    await sending.close()
    assert rejected.item.id == "id-1"
    assert "mapper_parsing_exception" in rejected.reason
    assert {name for _, name in bulk.documents} == {"id-0", "id-2"}


async def test_the_password_is_in_a_file_of_ours(server: Server, bulk: Bulk, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(0o644)
    sending = target(server, username="hpcsec", password_file=str(path))
    with pytest.raises(Refused, match="chmod 0600") as refusal:
        await sending.send([item(0)])
    assert "s3cret" not in str(refusal.value)
    path.chmod(0o600)
    await sending.send([item(0)])
    await sending.close()
    assert bulk.authorization == {"Basic aHBjc2VjOnMzY3JldA=="}


async def test_the_record_arrives_whole_through_failures(server: Server, bulk: Bulk, tmp_path: Path) -> None:
    place = Place(tmp_path / "record")
    log = place.open()
    files.make_directory(tmp_path / "state")
    bulk.answers = [503, 429, 503]
    add(log, 40)
    async with running(forwarder(target(server), Source(place.layout.directory), tmp_path / "state")):
        await until(lambda: (tmp_path / "state" / "test.cursor").exists(), "a cursor")
        await until(lambda: cursor(tmp_path / "state").next >= 41, "all of it")
    log.close()
    assert numbers(list(bulk.documents.values())) == list(range(40))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Refused, match=r"pip install 'jupyter-hpcsec\[opensearch\]'"):
        OpenSearchTarget(OpenSearchSink(urls=["https://x.example:9200"]))
