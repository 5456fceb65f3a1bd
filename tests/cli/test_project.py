"""``hpcsec project`` against a real registry behind a real admin socket, served by a thread."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.hub.projectoffice import ProjectOffice
from jupyter_hpcsec.hub.projectstore import FILE, ProjectStore
from jupyter_hpcsec.projects.rules import Site
from jupyter_hpcsec.tunnel.admin import AdminServer
from jupyter_hpcsec.tunnel.observer import UNOBSERVED
from jupyter_hpcsec.tunnel.projectdesk import ProjectDesk

NOW = 1_800_000_000  # 2027-01-15
LIST = """\
projects:
  - id: genomics
    title: Genomes
    purpose: Who has which.
    owner: alice
    users: [bob]
    review_on: "2027-06-30"
  - {id: draft, title: "A draft", purpose: x, owner: bob}
"""


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "admin.sock"
    (tmp_path / "state").mkdir(mode=0o700)
    loop, listening, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        store = ProjectStore(tmp_path / "state" / FILE)
        office = ProjectOffice(store, mode="optional", site=Site(), observer=UNOBSERVED, clock=lambda: NOW)
        server = AdminServer(ProjectDesk(office), allowed_uids={os.geteuid()})  # type: ignore[arg-type]
        server.listen(path)
        listening.set()
        await stop.wait()
        await server.stop()
        office.shut()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert listening.wait(120)
    monkeypatch.setenv("HPCSEC_ADMIN_SOCKET", str(path))
    yield path
    loop.call_soon_threadsafe(stop.set)
    thread.join(120)
    loop.close()


def told(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["project", *words]) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


@pytest.mark.usefixtures("socket")
def test_from_a_proposal_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no project of this name. [project.unknown]" in told(capsys, "show", "genomics", status=1)
    terms = [
        "--title",
        "Genomes",
        "--purpose",
        "Who has which.",
        "--owner",
        "alice",
        "--user",
        "bob",
        "--path",
        "/data/g",
    ]
    assert "lower-case" in told(capsys, "propose", "../x", *terms, status=1)
    told(capsys, "propose", "genomics", *terms, "--account", "g1")
    assert "somebody else" in told(capsys, "approve", "genomics", "--review-on", "2027-06-30", status=1)
    early = ("--review-on", "2026-01-01", "--on-behalf", "olga")
    assert "must be after 2027-01-15" in told(capsys, "approve", "genomics", *early, status=1)
    told(capsys, "approve", "genomics", "--review-on", "2027-06-30", "--on-behalf", "olga")
    told(capsys, "members", "genomics", "--add-user", "zoe", "--remove-user", "bob", "--add-group", "g")
    shown: dict[str, Any] = json.loads(told(capsys, "show", "genomics", "--json"))
    assert (shown["state"], shown["approved_by"], shown["terms"]["users"]) == ("open", "olga", ["zoe"])
    told(capsys, "renew", "genomics", "--review-on", "2027-12-31", "--reason", "reviewed")
    assert "2027-12-31" in told(capsys, "list", "--due", "366")
    assert "genomics" not in told(capsys, "list", "--due", "30")
    told(capsys, "close", "genomics", "--reason", "published")
    facts = told(capsys, "show", "genomics")
    assert "closed_reason  published" in facts and 'paths          ["/data/g"]' in facts
    assert "closed for good" in told(capsys, "renew", "genomics", "--review-on", "2027-12-31", status=1)


@pytest.mark.usefixtures("socket")
def test_a_list_is_taken_over_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "projects.yaml"
    for bad, said in (
        ("projects: [{id: x}]", "title"),
        ("projects: [{id: ../x, title: t, purpose: p, owner: o}]", "lower-case"),
        ("projects: [{id: x, title: t, purpose: p, owner: o}, {id: x, title: t, purpose: p, owner: o}]", "twice"),
        ('projects: [{id: x, title: "\\u202e", purpose: p, owner: o}]', "title"),
        ("projects: [{id: x, title: t, purpose: p, owner: o, approved: true}]", "approved"),
        ("projects: [{id: x, title: t, purpose: p, owner: o, review_on: 2027-06-30}]", "quote it"),
    ):
        path.write_text(bad)
        assert said in told(capsys, "import", str(path), status=1)
    assert "can't be read" in told(capsys, "import", str(tmp_path / "none.yaml"), status=1)
    assert told(capsys, "list").count("\n") == 1
    path.write_text(LIST)
    assert "2 projects" in told(capsys, "import", str(path), "--check")
    assert told(capsys, "list").count("\n") == 1
    for said in ("proposed, to be approved", "to be approved"):  # twice by the same
        assert f"genomics: {said} by somebody else" in told(capsys, "import", str(path))
    approved = told(capsys, "import", str(path), "--on-behalf", "olga")
    assert approved == "genomics: approved until 2027-06-30\ndraft: unchanged\n"
    assert told(capsys, "import", str(path)) == "genomics: unchanged\ndraft: unchanged\n"
    path.write_text(path.read_text().replace("2027-06-30", "2027-09-30"))
    assert "genomics: renewed until 2027-09-30" in told(capsys, "import", str(path))
