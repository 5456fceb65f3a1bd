"""Session, Search and Me with a real gateway and record: what is shown, to whom, and that it is on record first."""

import asyncio
import csv
import io
import json
import logging
import re
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_hpcsec.audit.events import Object, Subject
from jupyter_hpcsec.audit.kinds import KINDS
from jupyter_hpcsec.audit.kinds.gpu import GpuUse
from jupyter_hpcsec.audit.kinds.hub import HubLogin, HubServer
from jupyter_hpcsec.audit.kinds.kernels import CellExecuted
from jupyter_hpcsec.audit.kinds.node import NodeServerStarted
from jupyter_hpcsec.audit.kinds.requests import FileDownloaded, HttpRequest
from jupyter_hpcsec.audit.kinds.sessions import SessionEnded, SessionRegistered
from jupyter_hpcsec.audit.kinds.terminals import TerminalInput, TerminalOpened
from jupyter_hpcsec.console.desk import OWN_WAITING
from jupyter_hpcsec.console.page import END, READ
from jupyter_hpcsec.console.pages import search
from jupyter_hpcsec.console.pages.session import Replay
from jupyter_hpcsec.console.service import serving
from jupyter_hpcsec.console.views.timeline import GROUPS, entry, group_of
from jupyter_hpcsec.console.views.titles import TITLES, title_of
from jupyter_hpcsec.errors import Malformed, Unavailable
from jupyter_hpcsec.ops.audit.reading import Record
from jupyter_hpcsec.ops.audit.seen import Seen
from tests.console.conftest import Place

ONE, TWO, NONE = "a1" * 16, "b2" * 16, "c3" * 16
ALICE, BOB = Subject(user="alice"), Subject(user="bob")
NEXT = re.compile(r'rel="next" href="([^"]+)"')


@pytest.fixture
async def showing(place: Place) -> AsyncIterator[Place]:
    """A site that shows people who read their records."""
    settings = place.settings(show_readers=True)
    async with serving(settings, place.hub.service_token, logging.getLogger("test.showing")) as place.port:
        yield place


def fill(place: Place) -> None:
    """A session of alice's with some of everything, and one of bob's."""
    place.log.note(HubLogin(subject=Subject(login="Alice", user="alice"), source="192.0.2.7"), "hub")
    for session, who in ((ONE, ALICE), (TWO, BOB)):
        about: dict[str, Any] = {"subject": who, "session": session, "job": "77", "node": "n1"}
        code = b"print('of %s')" % who.user.encode()
        file, denied = Object.of_path(b"data/cohort.csv", 1_500_000, "ef" * 32), Object.of_path(b"secret/x")
        place.log.note(SessionRegistered(**about, lifetime_s=3600, policy="ab" * 32), "gateway")
        place.log.record(CellExecuted(**about, kernel="k1"), "gateway", {"source": code})
        place.log.note(CellExecuted(**about, object=Object(size=9, sha256="cd" * 32)), "gateway")
        place.log.note(FileDownloaded(**about, object=file), "gateway")
        place.log.note(FileDownloaded(**about, object=denied, decision="refused", rule="access.deny"), "gateway")
        place.log.note(HttpRequest(**about, method="GET", object=Object(name="/user/x/lab")), "gateway")
        place.log.note(TerminalOpened(**about, terminal="1"), "gateway")
        place.log.record(TerminalInput(**about, terminal="1"), "gateway", {"input": b"ls\r"})
        place.log.note(GpuUse(**about, kernel="k1", span_s=300, used_s=100, held_s=200, simulated=True), "node")
        place.record(SessionEnded(**about, reason="the job's time was over"))


async def test_the_timeline_of_a_session(place: Place) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    answer = await ada.get(f"session/{ONE}")
    assert answer.status_code == 200
    text = answer.text
    for said in (
        "Session of", "alice", "192.0.2.7", "Logged in", "Session registered", "print(&#39;of alice&#39;)",
        "The code was not recorded.", "data/cohort.csv", "1.5 MB", "refused by", "access.deny", "simulated",
        "the job&#39;s time was over", "ab" * 32, "<svg",
    ):  # fmt: skip
        assert said in text, said
    assert "of bob" not in text and "/user/x/lab" not in text and f"live/end/{ONE}" not in text
    assert f"alerts?state=all&amp;session={ONE}" in text and f"search?session={ONE}" in text
    assert "/user/x/lab" in (await ada.get(f"session/{ONE}?show=traffic")).text
    only = (await ada.get(f"session/{ONE}?show=refusals")).text
    assert "secret/x" in only and "cohort.csv" not in only
    [read] = await place.events("audit.read", lambda event: "show=session" in event["query"])
    assert (read["subject"]["user"], read["action"]) == ("ada", "session")
    assert f"session={ONE}" in read["query"] and "of=alice" in read["query"]


async def test_a_session_that_goes_on_is_ended_from_its_page_by_who_may(place: Place) -> None:
    session = (await place.register("alice")).session
    place.record(CellExecuted(session=session, subject=ALICE))  # what came before it is in the index, too
    ada, eve, alice = place.visitor("ada", READ, END), place.visitor("eve", READ), place.visitor("alice")
    page = (await ada.get(f"session/{session}")).text
    assert f"live/end/{session}" in page and '<span class="tag"><bdi>waiting</bdi></span>' in page
    assert (await ada.get(f"live/end/{session}")).status_code == 200
    assert "live/end" not in (await eve.get(f"session/{session}")).text
    assert "live/end" not in (await alice.get(f"me/session/{session}")).text


def test_whatever_moves_files_stands_among_the_files_and_no_group_is_of_kinds_that_are_not() -> None:
    moving = [kind for kind in KINDS if kind.startswith(("file.", "upload.", "node.upload-", "node.file-"))]
    assert len(moving) > 8 and {group_of(kind) for kind in moving} == {"files"}
    beginnings = [start for group in GROUPS for start in group.kinds]
    assert [start for start in beginnings if not any(kind.startswith(start) for kind in KINDS)] == []


def test_each_kind_has_a_title_and_no_title_is_of_a_kind_that_is_not() -> None:
    assert set(TITLES) == set(KINDS)  # a new kind needs one in console.views.titles
    assert len(set(TITLES.values())) == len(TITLES)
    assert title_of("other.kind") == "other.kind"
    answered = {"kind": "kernel.reply", "time": "2026-07-01T00:00:00Z", "status": "error"}
    assert entry(Seen(1, answered), "alice").title == "Cell answered: error"


@pytest.mark.parametrize("facts", ["[" * 4096, "9" * 4096, '{"masks": "\\ud800"}'])
async def test_no_receipt_of_a_node_hides_its_session(place: Place, facts: str) -> None:
    fill(place)
    place.record(NodeServerStarted(subject=ALICE, session=ONE, facts=facts), "node")
    answer = await place.visitor("ada", READ).get(f"session/{ONE}")
    assert answer.status_code == 200 and "print(&#39;of alice&#39;)" in answer.text


async def test_what_can_not_be_put_on_record_is_not_shown(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    assert (await ada.get(f"session/{ONE}")).status_code == 200
    leaf = 1

    async def no(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(place.auditor, "keep", no)
    for path in (f"session/{ONE}", "search?user=alice", "search.csv?user=alice", "search.json", f"event/{leaf}", "me"):
        answer = await ada.get(path)
        assert answer.status_code == 503, path
        assert "the disk is full" in answer.text and "cohort" not in answer.text and "of alice" not in answer.text
    for path, fields in ((f"session/{ONE}/replay", {"part": "notebook"}), (f"session/{ONE}/bundle", {"values": "1"})):
        answer = await ada.post(path, fields)
        assert answer.status_code == 503 and b"cohort" not in answer.content


async def test_long_sessions_go_page_by_page(place: Place) -> None:
    place.log.note(SessionRegistered(subject=ALICE, session=ONE), "gateway")
    for number in range(250):
        place.log.note(CellExecuted(subject=ALICE, session=ONE, message=f"m{number:03d}"), "gateway")
    place.record(SessionEnded(subject=ALICE, session=ONE))
    ada = place.visitor("ada", READ)
    seen, pages, path = "", 0, f"session/{ONE}"
    while path:
        text = (await ada.get(path)).text
        seen, pages = seen + text, pages + 1
        found = NEXT.search(text)
        path = unescape(found[1]).partition("#")[0] if found else ""
    assert pages == 3
    assert [seen.count(f"m{number:03d}") for number in range(250)] == [1] * 250


async def test_a_session_that_is_not_there(place: Place) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    assert (await ada.get(f"session/{NONE}")).status_code == 404
    await ada.get(f"session/{ONE}")
    for path in ("replay", "bundle"):
        assert (await ada.post(f"session/{NONE}/{path}", {"part": "notebook"})).status_code == 404
    refused = await place.events("console.refused", lambda event: event["rule"] == "session.unknown", count=3)
    assert refused[0]["object"]["name"].endswith(NONE)


async def test_a_session_is_replayed(place: Place) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    assert (await ada.post(f"session/{ONE}/replay", {"part": "notebook"})).status_code in (302, 403)  # no login yet
    await ada.get(f"session/{ONE}")
    answer = await ada.post(f"session/{ONE}/replay", {"part": "notebook"})
    assert answer.headers["Content-Disposition"] == f'attachment; filename="session-{ONE[:8]}.ipynb"'
    sources = "".join(cell["source"] for cell in answer.json()["cells"])
    assert "print('of alice')" in sources and "of bob" not in sources
    cast = await ada.post(f"session/{ONE}/replay", {"part": "terminals"})
    assert cast.headers["Content-Disposition"].endswith('.cast"')
    assert [json.loads(line)[2] for line in cast.text.splitlines()[2:]][1:] == ["ls\r", "ls\r\n"]
    assert (await ada.post(f"session/{ONE}/replay", {"part": "../x"})).status_code == 400
    read = await place.events("audit.read", lambda event: event["action"] == "replay", count=2)
    assert {each["subject"]["user"] for each in read} == {"ada"}


async def test_its_bundle_verifies_with_nothing_but_python(place: Place, tmp_path: Path) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    await ada.get(f"session/{ONE}")
    answer = await ada.post(f"session/{ONE}/bundle", {"values": "1"})
    assert answer.status_code == 200
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "case")  # noqa: S202 - ours
    where = tmp_path / "case" / f"session-{ONE[:8]}"
    key = (where / "verifier.key").read_text().strip()
    command = [sys.executable, "-I", "-S", "verify.py", "--key", key]
    done = await asyncio.to_thread(subprocess.run, command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 values" in done.stdout and json.loads((where / "manifest.json").read_text())["by"] == "ada"
    [exported] = await place.events("audit.exported")
    assert exported["with_values"] and exported["subject"]["user"] == "ada"


async def test_an_event_with_its_proof(place: Place) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    answer = await ada.get("event/2")
    shown = answer.json()
    assert (shown["leaf"], answer.headers["Content-Type"]) == (2, "application/json; charset=utf-8")
    assert shown["event"]["kind"] == "session.registered" and shown["proof"] and shown["checkpoint"]
    assert (await ada.get("event/999999")).status_code == 503
    await place.events("audit.read", lambda event: event["query"] == "event 2")


# -- search


async def test_a_search_is_an_address(place: Place) -> None:
    fill(place)
    ada = place.visitor("ada", READ)
    assert "events" not in (await ada.get("search")).text.partition("</form>")[2].partition("<footer>")[0]
    text = (await ada.get("search?user=alice&kind=file.*&path=data/*")).text
    assert "cohort.csv" in text and "secret/x" not in text and "1 event," in text
    assert 'value="file.*"' in text and f"session/{ONE}?from=" in text
    [read] = await place.events("audit.read", lambda event: event["action"] == "search")
    assert "user=alice" in read["query"] and "kind=file.*" in read["query"] and read["found"] == 1


async def test_what_is_wrong_stands_beside_its_field(place: Place) -> None:
    ada = place.visitor("ada", READ)
    answer = await ada.get("search?since=yesterday&user=alice&session=xyz&nonsense=1")
    assert answer.status_code == 400
    for said in (
        "is no time: a day",
        "An id has digits",
        "There is no field",
        "Mend Session, Since",
        'value="yesterday"',
        'value="alice"',
    ):
        assert said in answer.text
    answer = await ada.get("search.csv?since=yesterday")
    assert answer.status_code == 400 and "Since: " in answer.text and "is no time: a day" in answer.text
    assert not [event for event in place.all_events() if event["kind"] == "audit.read"]


async def test_answers_as_files_are_whole_and_those_of_the_command_line(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr(search, "CHUNK", 7)
    for number in range(60):
        name = b"=cmd|' /C calc'!A%d" % number if number % 2 else b"a;=1+1, %d" % number
        place.log.note(FileDownloaded(subject=ALICE, object=Object.of_path(name)), "gateway")
    fill(place)
    ada = place.visitor("ada", READ)
    for order in ("", "&newest=1"):
        lines = (await ada.get(f"search.json?user=alice{order}")).text.splitlines()
        leaves = [json.loads(line)["leaf"] for line in lines]
        assert len(set(leaves)) == len(leaves) >= 70 and leaves == sorted(leaves, reverse=bool(order))
        answer = await ada.get(f"search.csv?user=alice{order}")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="search.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [int(row["leaf"]) for row in rows] == leaves
    told = await place.events("audit.read", lambda event: "as=csv" in event["query"], count=2)
    assert told[0]["found"] == len(leaves)
    for cells in csv.reader(io.StringIO(answer.text)):
        for part in (part for cell in cells for part in re.split("[;\t|]", cell)):
            assert not part.startswith(("=", "+", "-", "@")), cells


async def test_a_file_that_breaks_is_seen_to_be_cut(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr(search, "CHUNK", 7)
    for _ in range(30):
        place.log.note(FileDownloaded(subject=ALICE), "gateway")
    place.record(FileDownloaded(subject=ALICE))
    ada = place.visitor("ada", READ)
    await ada.get("search")
    right, asked = Record.events, []

    def events(self: Record, leaves: list[int]) -> Any:
        asked.append(leaves)
        if len(asked) > 2:
            raise Malformed("event 20 is not the one that was signed")
        return right(self, leaves)

    monkeypatch.setattr(Record, "events", events)
    with pytest.raises(httpx.RemoteProtocolError):
        await ada.get("search.json?user=alice")


# -- me


async def test_people_see_their_own_records_and_no_others(place: Place) -> None:
    fill(place)
    bob = place.visitor("bob")
    mine = (await bob.get("me")).text
    assert f"me/session/{TWO}" in mine and ONE not in mine and "alice" not in mine
    own = await bob.get(f"me/session/{TWO}")
    assert own.status_code == 200 and "of bob" in own.text and "/bundle" not in own.text and "event/" not in own.text
    other, none = [await bob.get(f"me/session/{session}") for session in (ONE, NONE)]
    assert other.status_code == none.status_code == 404
    assert other.text.replace(ONE, "") == none.text.replace(NONE, "")
    assert {k: v for k, v in other.headers.items() if k != "date"} == {
        k: v for k, v in none.headers.items() if k != "date"
    }
    for path in (f"session/{TWO}", "search", "search.csv", "search.json", "event/1"):
        assert (await bob.get(path)).status_code == 403, path
    refused = await place.events("console.refused", lambda event: event["rule"] == "session.unknown", count=2)
    assert {each["subject"]["user"] for each in refused} == {"bob"}


async def test_people_replay_their_own_sessions_and_no_others(place: Place) -> None:
    fill(place)
    bob = place.visitor("bob")
    assert f"me/session/{TWO}/replay" in (await bob.get(f"me/session/{TWO}")).text
    for other in (ONE, NONE):
        answer = await bob.post(f"me/session/{other}/replay", {"part": "notebook"})
        assert answer.status_code == 404 and "of alice" not in answer.text
    assert (await bob.post(f"session/{TWO}/replay", {"part": "notebook"})).status_code == 403
    assert (await bob.post(f"me/session/{TWO}/bundle", {"values": "1"})).status_code == 404  # there is no such page
    assert (await bob.post(f"me/session/{TWO}/replay", {"part": "notebook", "_xsrf": "0"})).status_code == 403
    mine = await bob.post(f"me/session/{TWO}/replay", {"part": "notebook"})
    sources = "".join(cell["source"] for cell in mine.json()["cells"])
    assert "print('of bob')" in sources and "alice" not in sources
    [read] = await place.events("audit.read", lambda event: event["action"] == "replay")
    assert (read["subject"]["user"], TWO in read["query"]) == ("bob", True)


async def test_replays_that_are_not_taken_do_not_fill_the_memory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(place)
    bob, alice = place.visitor("bob"), place.visitor("alice")
    for person, session in ((bob, TWO), (alice, ONE)):
        await person.get(f"me/session/{session}")
    taken, at_once = asyncio.Event(), asyncio.Semaphore(0)
    right = Replay.send

    async def slowly(self: Replay, data: bytes) -> None:
        at_once.release()
        await taken.wait()
        await right(self, data)

    monkeypatch.setattr(Replay, "send", slowly)
    asked = [asyncio.create_task(bob.post(f"me/session/{TWO}/replay", {"part": "notebook"})) for _ in range(8)]
    await at_once.acquire()
    refused = await next(asyncio.as_completed(asked))
    assert refused.status_code == 503 and "being made" in refused.text
    taken.set()
    statuses = [(await each).status_code for each in asked]
    assert statuses.count(200) < OWN_WAITING and set(statuses) == {200, 503}
    assert (await alice.post(f"me/session/{ONE}/replay", {"part": "notebook"})).status_code == 200
    assert (await bob.post(f"me/session/{TWO}/replay", {"part": "notebook"})).status_code == 200


async def test_who_acts_for_somebody_does_not_own_the_session(place: Place) -> None:
    acted = Subject(user="alice", impersonator="bob")
    place.record(SessionRegistered(subject=acted, session=ONE))
    bob = place.visitor("bob")
    assert ONE not in (await bob.get("me")).text
    assert (await bob.get(f"me/session/{ONE}")).status_code == 404
    assert (await bob.post(f"me/session/{ONE}/replay", {"part": "notebook"})).status_code in (403, 404)


async def test_what_one_does_to_things_of_others_is_not_in_ones_own_records(place: Place) -> None:
    """Bob administers the hub: he stops alice's server, and somebody else stops his."""
    place.log.note(HubLogin(subject=Subject(login="bob", user="bob"), source="192.0.2.8"), "hub")
    acted = Subject(user="alice", impersonator="bob")
    place.log.note(HubServer(action="start", subject=acted, server="of-alice", source="192.0.2.8"), "hub")
    place.log.note(SessionRegistered(subject=BOB, session=TWO), "gateway")
    place.log.note(HubServer(action="stop", subject=acted, server="of-alice", source="192.0.2.8"), "hub")
    by_root = Subject(user="bob", impersonator="root")
    place.log.note(HubServer(action="stop", subject=by_root, source="192.0.2.99"), "hub")
    place.record(SessionEnded(subject=BOB, session=TWO, reason="over"))
    bob, ada = place.visitor("bob"), place.visitor("ada", READ)
    mine, theirs = [(await one.get(f"{at}session/{TWO}")).text for one, at in ((bob, "me/"), (ada, ""))]
    assert "alice" not in mine and "of-alice" not in mine and "192.0.2.8" in mine
    assert "root" not in mine and "192.0.2.99" not in mine, "that would name who acted"
    assert "root" in theirs and "192.0.2.99" in theirs and "of-alice" not in theirs


async def test_a_node_can_not_say_whose_a_session_is(place: Place) -> None:
    place.record(SessionRegistered(subject=BOB, session=NONE), trust="node")
    bob = place.visitor("bob")
    assert (await bob.get(f"me/session/{NONE}")).status_code == 404
    assert NONE not in (await bob.get("me")).text


async def test_who_read_is_shown_only_where_the_site_shows_it(place: Place) -> None:
    fill(place)
    ada, alice = place.visitor("ada", READ), place.visitor("alice")
    await ada.get(f"session/{ONE}")
    await ada.get("search?user=bob")
    await place.events("audit.read", lambda event: event["action"] == "search")
    place.record(SessionEnded(session=NONE))
    assert "ada" not in (await alice.get("me")).text


async def test_where_readers_are_shown_the_reason_of_an_end_names_who_ended_it(showing: Place) -> None:
    registration = await showing.register("alice")
    ada = showing.visitor("ada", READ, END)
    path = f"live/end/{registration.session}"
    await ada.get(path)
    assert "ada: exfiltrates" in (await ada.post(path, {"reason": "exfiltrates"})).text
    await ada.post(path, {"reason": "exfiltrates", "confirmed": "yes"})
    [ended] = await showing.events("session.ended")
    assert ended["reason"] == "ada: exfiltrates"


@pytest.mark.parametrize("person", ["alice", "bob", "eve"])
async def test_who_read_is_shown(showing: Place, person: str) -> None:
    fill(showing)
    ada, reader = showing.visitor("ada", READ), showing.visitor(person)
    await ada.get(f"session/{ONE}")
    await ada.get("search?user=bob")
    await showing.events("audit.read", lambda event: event["action"] == "search")
    showing.record(SessionEnded(session=NONE))
    shown = (await reader.get("me")).text
    assert shown.count("<bdi>ada</bdi>") == (0 if person == "eve" else 1)
    assert "read (session)" in shown if person == "alice" else "read (session)" not in shown
