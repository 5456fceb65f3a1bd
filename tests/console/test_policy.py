"""Policy in the console: shown as the gateway loaded it, explained, compared with a proposal; nothing is applied."""

import asyncio
import logging
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.audit.events import Event
from jupyter_hpcsec.console.compare_worker import Order, Person, answer
from jupyter_hpcsec.console.comparing import Comparing
from jupyter_hpcsec.console.page import ALERT, READ
from jupyter_hpcsec.console.views import policy as view
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.policies import PolicyFile
from tests.console.conftest import PREFIX, Place, Visitor, running

HOSTILE = '"><script>alert(1)</script>'
POLICY = """version: 1
defaults: {contact: "ask <b>us</b>"}
rules:
  - {who: "*", allow: {write: ["/home/{user}"]}}
  - {who: "group:genomics", allow: {read: ["/data/genomics"]}, deny: ["/data/genomics/consented-only"]}
tests:
  - {user: alice, groups: [genomics], path: /data/genomics/consented-only/x, may: none}
"""
CLOSED = POLICY.replace('allow: {read: ["/data/genomics"]}', 'allow: {read: ["/data/other"]}')


def policed(place: Place, text: str = POLICY) -> None:
    path = place.directory / "policy.yaml"
    path.write_text(text + f"# {HOSTILE} \u202e\n")
    path.chmod(0o644)

    def tell(event: Event) -> None:
        place.auditor.note(event)

    place.deployment.policies = PolicyFile(path, parse, logging.getLogger("test.policy"), tell)


@pytest.fixture
async def policed_place(tmp_path: Path) -> AsyncIterator[Place]:
    async with running(tmp_path, policed) as made:
        await made.register("alice", groups=["genomics"])
        await made.register("bob", groups=["physics"])
        yield made


async def compare(visitor: Visitor, place: Place, *, text: str = "", file: bytes | None = None) -> httpx.Response:
    fields = {"_xsrf": visitor.shown, "text": text}
    files = {"file": ("x.yaml", file)} if file is not None else {"file": ("", b"")}
    headers = {"Origin": place.url, "Sec-Fetch-Site": "same-origin"}
    return await visitor.client.post(f"{PREFIX}policy/compare", data=fields, files=files, headers=headers)


async def test_each_part_needs_the_scope(policed_place: Place) -> None:
    eve = policed_place.visitor("eve", ALERT)
    for path in ("policy", "policy/explain?user=alice&path=/data/genomics/x"):
        answer = await eve.get(path)
        assert answer.status_code == 403 and "genomics" not in answer.text
    assert (await compare(eve, policed_place, text=POLICY)).status_code == 403
    kinds = {event["kind"] for event in policed_place.all_events()}
    assert not kinds & {"policy.explained", "policy.compared"}


async def test_the_policy_is_shown_as_it_was_loaded_with_its_lines_and_since_when(policed_place: Place) -> None:
    [loaded] = await policed_place.events("policy.loaded")
    ada = policed_place.visitor("ada", READ)
    page = (await ada.get("policy")).text
    assert loaded["policy"] in page and 'id="line-5"' in page and "group:genomics" in page
    assert ("2 with a session now" in page and "metadata" in page.lower()) or "sources" in page
    assert HOSTILE not in page and "\u202e" not in page and "&lt;script&gt;" in page
    path = policed_place.directory / "policy.yaml"
    path.write_text("rules: []\n")  # changed on disk, not yet loaded
    assert "group:genomics" in (await ada.get("policy")).text
    reads = await policed_place.events("audit.read", lambda event: event["action"] == "policy", count=2)
    assert {event["subject"]["user"] for event in reads} == {"ada"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("user=alice&path=/data/genomics/x", "may read"),
        ("user=alice&path=/data/genomics/consented-only/x", "may do nothing with"),
        ("user=bob&path=/data/genomics/x", "may do nothing with"),
        ("user=bob&path=/data/genomics/x&groups=genomics,%20other", "may read"),
        ("user=a-stranger&path=/home/a-stranger/x", "may read and write"),
    ],
)
async def test_a_path_is_explained_with_rule_and_line(policed_place: Place, query: str, said: str) -> None:
    ada = policed_place.visitor("ada", READ)
    page = (await ada.get(f"policy/explain?{query}")).text
    assert said in page and ('href="#line-' in page or "no rule speaks of it" in page)
    [event] = await policed_place.events("policy.explained")
    assert event["subject"]["user"] == "ada" and event["asked"] in query and event["object"]["name"] in query


@pytest.mark.parametrize(
    "query",
    [
        *("user=alice", "path=/x", "user=alice&path=relative", "user=alice&path=/a/../b"),
        f"user=alice&path=/{'x' * 5000}",
        f"user={'x' * 300}&path=/x",
        f"user=alice&path=/x&groups={','.join(f'g{n}' for n in range(40))}",
        "user=alice&user=bob&path=/x",
    ],
)
async def test_a_question_that_is_none_is_refused(policed_place: Place, query: str) -> None:
    ada = policed_place.visitor("ada", READ)
    await ada.get("live")  # a login on the way would lead back to an address of a usual length only
    assert (await ada.get(f"policy/explain?{query}")).status_code == 400
    assert not [event for event in policed_place.all_events() if event["kind"] == "policy.explained"]


async def test_what_was_typed_is_not_lost(policed_place: Place) -> None:
    ada = policed_place.visitor("ada", READ)
    answer = await ada.get("policy/explain?user=alice&path=relative")
    assert 'value="relative"' in answer.text and 'value="alice"' in answer.text and 'role="alert"' in answer.text
    answer = await ada.post("policy/compare", {"text": "rules: [] " + " " * (512 << 10)})
    assert answer.status_code == 400 and "rules: []" in answer.text and "at most 512 KiB" in answer.text
    await policed_place.events("console.refused", lambda event: event["rule"] == "console.malformed", 2)


async def test_hostile_names_are_text(policed_place: Place) -> None:
    ada = policed_place.visitor("ada", READ)
    answer = await ada.get(f"policy/explain?user={HOSTILE}&path=/{HOSTILE}&groups={HOSTILE}&project={HOSTILE}")
    assert answer.status_code == 200 and HOSTILE not in answer.text and "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("as_file", [True, False])
async def test_who_gains_and_who_loses_by_another_policy_and_nothing_is_applied(
    policed_place: Place, as_file: bool
) -> None:
    before = (policed_place.directory / "policy.yaml").read_bytes()
    ada = policed_place.visitor("ada", READ)
    await ada.get("policy")
    given: dict[str, Any] = {"file": CLOSED.encode()} if as_file else {"text": CLOSED.replace("\n", "\r\n")}
    page = (await compare(ada, policed_place, **given)).text
    assert "It can be used" in page and "1 test held" in page and "1 gains and 1 loses something" in page
    assert "/data/genomics" in page and ">alice<" in page and ">bob<" not in page
    [event] = await policed_place.events("policy.compared")
    assert (event["subject"]["user"], event["gain"], event["lose"], event["users"]) == ("ada", 1, 1, 2)
    assert len(event["object"]["sha256"]) == 64 and event["state"] == "compared"
    assert (policed_place.directory / "policy.yaml").read_bytes() == before


async def test_a_proposal_that_is_wrong_names_line_and_column(policed_place: Place) -> None:
    ada = policed_place.visitor("ada", READ)
    await ada.get("policy")
    wrong = POLICY.replace("allow: {write", f"allow: {{'{HOSTILE[2:]}'").replace("may: none", "may: write")
    page = (await compare(ada, policed_place, text=wrong)).text
    assert "It can&#39;t be used" in page or "It can't be used" in page
    assert "line 4, column" in page and HOSTILE not in page and HOSTILE[2:] not in page
    failing = (await compare(ada, policed_place, text=POLICY.replace("may: none", "may: read"))).text
    assert "test 1 fails" in failing and "line 7" in failing
    events = await policed_place.events("policy.compared", count=2)
    assert {event["state"] for event in events} == {"wrong"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": ""}, "Choose a file"),
        ({"file": b"\xff\xfe"}, "UTF-8"),
        ({"file": b"#" * (512 * 1024 + 1)}, "at most 512 KiB"),
        ({"text": "#" * (512 * 1024 + 1)}, "at most 512 KiB"),
        ({"text": POLICY, "file": POLICY.encode()}, "not both"),
    ],
)
async def test_an_upload_that_is_none_is_refused_with_a_sentence(
    policed_place: Place, given: dict[str, Any], said: str
) -> None:
    ada = policed_place.visitor("ada", READ)
    await ada.get("policy")
    refused = await compare(ada, policed_place, **given)
    assert refused.status_code == 400 and said in refused.text
    assert not [event for event in policed_place.all_events() if event["kind"] == "policy.compared"]


async def test_without_the_forms_token_nothing_is_compared(policed_place: Place) -> None:
    ada = policed_place.visitor("ada", READ)
    await ada.get("policy")
    ada.shown = "0" * 32
    assert (await compare(ada, policed_place, text=POLICY)).status_code == 403


async def test_without_access_control_the_page_says_so(place: Place) -> None:
    ada = place.visitor("ada", READ)
    assert "Access control is off" in (await ada.get("policy")).text
    assert (await ada.get("policy/explain?user=alice&path=/x")).status_code == 503
    page = (await compare(ada, place, text=POLICY)).text
    assert "no policy in force to compare it with" in page


# -- the worker and the views


PEOPLE = (Person("alice", 1, 1, groups=("genomics",), active=True), Person("bob", 2, 2))


def test_what_is_proposed_is_compared_for_each() -> None:
    same = answer(Order(POLICY, POLICY, PEOPLE))
    assert (same.affected, same.people, same.tests) == ((), 2, 1)
    nobody = 'version: 1\nrules:\n  - {who: "user:carl", allow: {read: ["/x"]}}\n'
    lost = answer(Order(POLICY, nobody, PEOPLE))
    assert (lost.lose, lost.gain) == (2, 0) and all(each.refused_after for each in lost.affected)
    gained = answer(Order(nobody, POLICY, PEOPLE))
    assert (gained.lose, gained.gain) == (0, 2)
    assert answer(Order("", POLICY, PEOPLE)).warning
    assert answer(Order(POLICY, "a: [", PEOPLE)).faults


def test_many_people_and_paths_are_counted_and_some_are_shown() -> None:
    wide = POLICY.replace('["/data/genomics"]', str([f"/data/d{n}" for n in range(90)]).replace("'", '"'))
    crowd = tuple(Person(f"u{n}", n, n, groups=("genomics",)) for n in range(300))
    found = answer(Order(POLICY, wide, crowd))
    assert len(found.affected) == 200 and found.more == 100 and found.lose == 300
    assert len(found.affected[0].changes) == 40 and found.affected[0].more > 0


async def test_one_comparison_at_a_time_and_not_for_ever() -> None:
    endless = Comparing(limit_s=0.5, command=("sleep", "600"))
    with pytest.raises(Unavailable, match="longer than"):
        await endless.compare(Order("", "", ()))
    comparing = Comparing()
    first = asyncio.create_task(comparing.compare(Order(POLICY, CLOSED, PEOPLE)))
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="Somebody else"):
        await comparing.compare(Order(POLICY, CLOSED, PEOPLE))
    assert (await first).lose == 1
    assert (await comparing.compare(Order(POLICY, POLICY, PEOPLE))).people == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "ended with status 1, saying: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise MemoryError", "more time or memory than it may"),
        ("import os; os.kill(os.getpid(), 24)", "more time or memory than it may"),
        ("import os; os.kill(os.getpid(), 9)", "was killed (SIGKILL)"),
        ("print('{')", "ended with status 0"),
    ],
)
async def test_why_there_is_no_comparison(code: str, said: str) -> None:
    with pytest.raises(Unavailable, match=re.escape(said)):
        await Comparing(command=(sys.executable, "-c", code)).compare(Order("", "", ()))


def test_groups_are_bounded() -> None:
    assert view.groups_of(" a, b,,a ") == ("a", "b")
    with pytest.raises(Malformed):
        view.groups_of("x" * 256)
    with pytest.raises(Malformed):
        view.groups_of(",".join(map(str, range(33))))


def test_those_who_work_now_are_compared_first() -> None:
    facts = {"uid": 1, "gid": 1, "home": "", "groups": [], "project": ""}
    found = view.people([facts | {"user": f"u{n:04}", "active": n == 2999} for n in range(3000)])
    assert len(found) == view.PEOPLE and found[0].user == "u2999"
