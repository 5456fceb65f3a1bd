"""Live: what is shown of sessions, in pages; and their end: with a reason, a second look, and a name."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.gpu import GpuAlert, GpuUse, GpuWatch
from jupyter_hpcsec.audit.kinds.node import NodeGap
from jupyter_hpcsec.console.page import END, READ
from jupyter_hpcsec.console.pages import live
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel.registry import Live as LiveSession
from jupyter_hpcsec.tunnel.session import Session, State
from tests.console.conftest import PREFIX, Place, running
from tests.e2e.labpage import HOSTILE

UNKNOWN = "f" * 32


@pytest.fixture
async def free_place(tmp_path: Path) -> AsyncIterator[Place]:
    """A site that keeps no list of projects and takes any name for one."""

    def prepare(made: Place) -> None:
        made.deployment.projects = None

    async with running(tmp_path, prepare) as made:
        yield made


async def test_sessions_are_shown_and_that_somebody_looks_is_recorded_first(free_place: Place) -> None:
    place = free_place
    registration = await place.register("alice", project="genomics", job_id="4711")
    ada = place.visitor("ada", READ)
    text = (await ada.get("live?user=ali")).text
    for part in ("alice", "genomics", "4711", "waiting", f"{PREFIX}session/{registration.session}"):
        assert part in text
    assert "live/end" not in text  # ada may not
    [read] = await place.events("audit.read")
    assert read["query"] == "user=ali order=newest" and read["found"] == 1
    assert "No session answers" in (await ada.get("live?user=bob")).text


async def test_nothing_is_shown_that_is_not_recorded(place: Place) -> None:
    await place.register("alice")
    ada = place.visitor("ada", READ)
    await ada.get("live")
    await place.deployment.admin.stop()
    answer = await ada.get("live")
    assert answer.status_code == 503 and "alice" not in answer.text


async def test_open_alerts_lead_to_those_of_the_session(place: Place) -> None:
    alice, bob = [await place.register(name) for name in ("alice", "bob")]
    subject = Subject(user="alice")
    place.record(NodeGap(session=alice.session, subject=subject))
    place.record(GpuAlert(rule="R5", state="raised", session=alice.session, subject=subject), "node")
    place.record(NodeGap(session=UNKNOWN, subject=subject))
    ada = place.visitor("ada", READ)
    for path in ("live", "live/rows"):
        text = (await ada.get(path)).text
        assert re.findall(r'alerts\?session=([0-9a-f]+)">([^<]+)<', text) == [(alice.session, "2 open")]
        assert text.count('<span class="quiet">none</span>') == 1, "bob has none"
    text = (await ada.get(f"alerts?session={alice.session}")).text
    assert "Events of a node are missing" in text and "Signs of mining" in text and UNKNOWN not in text
    assert "Nothing is open" in (await ada.get(f"alerts?session={bob.session}")).text


async def test_the_gpus_of_a_session_are_its_watchs_last_word(place: Place) -> None:
    alice, bob = [await place.register(name) for name in ("alice", "bob")]
    place.log.note(GpuWatch(session=alice.session, state="seeing", devices=4), "node")
    place.log.note(GpuWatch(session=alice.session, state="seeing", devices=2), "node")
    place.log.note(GpuUse(session=alice.session, memory=3_000_000_000), "node")
    place.record(GpuWatch(session=bob.session, state="started"), "node")
    text = (await place.visitor("ada", READ).get("live?order=user")).text
    assert re.findall(r'data-label="GPU(?:s| memory)" class="number">([^<]+)<', text) == [
        "2",
        "3.0 GB",
        *["\N{EN DASH}"] * 2,
    ]


async def test_newer_alerts_of_others_hide_none_and_counting_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ALERTS", 2)
    alice, bob = [await place.register(name) for name in ("alice", "bob")]
    place.record(NodeGap(session=alice.session))
    for name in ("R1", "R2", "R5"):
        place.record(GpuAlert(rule=name, state="raised", session=bob.session), "node")
    text = (await place.visitor("ada", READ).get("live")).text
    assert dict(re.findall(r'alerts\?session=([0-9a-f]+)">([^<]+)<', text)) == {
        alice.session: "1 open",
        bob.session: "2 or more open",
    }


async def test_alerts_that_are_not_known_are_not_said_to_be_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.register("alice")
    ada = place.visitor("ada", READ)
    assert '"quiet">none' in (await ada.get("live")).text

    def damaged(*_: object) -> None:
        raise Unavailable("The index can't be used.")

    monkeypatch.setattr(live, "beside", damaged)
    text = (await ada.get("live")).text
    assert "alice" in text and "Alerts and GPUs are not shown" in text and '"quiet">none' not in text


async def test_markup_in_a_field_is_text(free_place: Place) -> None:
    place = free_place
    registration = await place.register(HOSTILE, server=HOSTILE, project=HOSTILE, job_id=HOSTILE)
    place.record(NodeGap(session=registration.session))
    ada = place.visitor(HOSTILE, READ, END)
    for path in ("live", "live/rows"):
        text = (await ada.get(path)).text
        assert "struck" in text and "<img" not in text and "<script>" not in text and "onerror=&#34;" in text
        assert "1 open" in text
    [link] = set(re.findall(r"live/end/[0-9a-f]{32}", (await ada.get("live")).text))
    for text in ((await ada.get(link)).text, (await ada.post(link, {"reason": HOSTILE})).text):
        assert "struck" in text and "<img" not in text and "<script>" not in text


@pytest.mark.parametrize("order", ["newest", "user", "node"])
async def test_pages_follow_each_other_and_leave_nobody_out(place: Place, order: str) -> None:
    fill(place, 120)
    ada = place.visitor("ada", READ)
    seen: list[str] = []
    path = f"live?order={order}"
    while path:
        text = (await ada.get(path)).text
        seen += re.findall(r"session/([0-9a-f]{32})", text)
        following = re.search(r'rel="next" href="/services/hpcsec/([^"]+)"', text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == 120 and set(seen) == {f"{i:032x}" for i in range(120)}


async def test_questions_that_no_link_of_ours_asks(place: Place) -> None:
    ada = place.visitor("ada", READ)
    zeros = "0" * 32
    for query in (
        "order=size",
        "after=1",
        f"after=x~{zeros}",
        "user=a&user=b",
        "node=" + "x" * 256,
        f"after=1;2~{zeros}",
    ):
        assert (await ada.get(f"live?{query}")).status_code == 400, query
    assert await place.events("console.refused", lambda event: event["rule"] == "console.malformed")


def fill(place: Place, count: int) -> None:
    """So many running sessions in the gateway's store, as many users do not start them by hand."""
    now = int(time.time())
    for i in range(count):
        session = Session(
            id=f"{i:032x}", user=f"user{i % 7}", server="", uid=1, state=State.WAITING, job_id="", node="",
            created_at=now + i % 5, ends_at=now + 3600, serial="", reason="",
        )  # fmt: skip
        place.deployment.store.add(session, {})


# Ending


async def test_a_session_ends_after_a_reason_and_a_second_look(place: Place) -> None:
    registration = await place.register("alice")
    ada = place.visitor("ada", READ, END)
    path = f"live/end/{registration.session}"
    assert path in (await ada.get("live")).text
    assert "Reason" in (await ada.get(path)).text
    for reason in (" ", "\u202e", "\u200b.", "…"):
        no_reason = await ada.post(path, {"reason": reason, "confirmed": "yes"})
        assert no_reason.status_code == 400 and "Say why" in no_reason.text
    second = await ada.post(path, {"reason": "exfiltrates"})
    assert "End this session?" in second.text and "exfiltrates" in second.text
    assert place.deployment.registry.get(registration.session) is not None  # until it is confirmed
    done = await ada.post(path, {"reason": "exfiltrates", "confirmed": "yes"})
    assert done.status_code == 200 and "has ended" in done.text
    assert place.deployment.registry.get(registration.session) is None
    [called] = await place.events("admin.called")
    assert called["subject"]["user"] == "ada" and called["reason"] == "exfiltrates"
    [ended] = await place.events("session.ended")
    assert ended["reason"] == "exfiltrates" and ended["subject"]["user"] == "alice"
    alice = place.visitor("alice")
    for own in ("me", f"me/session/{registration.session}"):
        assert "exfiltrates" in (shown := (await alice.get(own)).text) or own == "me"
        assert "ada" not in shown
    again = await ada.post(path, {"reason": "again", "confirmed": "yes"})
    assert again.status_code == 403 and "ended already" in again.text


async def test_who_may_only_read_ends_nothing(place: Place) -> None:
    registration = await place.register("alice")
    ada = place.visitor("ada", READ)
    await ada.get("live")
    answer = await ada.post(f"live/end/{registration.session}", {"reason": "x", "confirmed": "yes"})
    assert answer.status_code == 403 and live_session(place, registration.session)
    [refused] = await place.events("console.refused", lambda event: event["rule"] == "console.scope")
    assert refused["subject"]["user"] == "ada" and refused["method"] == "POST"


async def test_the_scope_is_asked_for_anew_before_a_session_ends(place: Place) -> None:
    registration = await place.register("alice")
    ada = place.visitor("ada", READ, END)
    path = f"live/end/{registration.session}"
    await ada.get(path)
    place.hub.people[ada.token]["scopes"].remove(END)
    answer = await ada.post(path, {"reason": "x", "confirmed": "yes"})
    assert answer.status_code == 403 and live_session(place, registration.session)


async def test_another_sites_form_ends_nothing(place: Place) -> None:
    registration = await place.register("alice")
    ada = place.visitor("ada", READ, END)
    path = f"live/end/{registration.session}"
    await ada.get(path)
    fields = {"reason": "x", "confirmed": "yes"}
    wrong: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"_xsrf": ""}, {}),
        ({"_xsrf": "x" * 40}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
        ({"_xsrf": ""}, {"Sec-Fetch-Mode": "websocket"}),
    ]
    for changed, headers in wrong:
        answer = await ada.post(path, fields | changed, **headers)
        assert answer.status_code == 403, (changed, headers)
    assert live_session(place, registration.session)
    refused = await place.events("console.refused", lambda event: event["rule"] == "console.xsrf", len(wrong))
    assert {event["subject"]["user"] for event in refused} == {"ada"}


async def test_the_form_of_another_login_is_none(place: Place) -> None:
    registration = await place.register("alice")
    path = f"live/end/{registration.session}"
    ada, eve = place.visitor("ada", READ, END), place.visitor("eve", READ, END)
    await ada.get(path)
    await eve.get(path)
    ada.shown = eve.shown
    answer = await ada.post(path, {"reason": "x", "confirmed": "yes"})
    assert answer.status_code == 403 and live_session(place, registration.session)


async def test_sessions_that_are_not_there(place: Place) -> None:
    ada = place.visitor("ada", READ, END)
    assert (await ada.get(f"live/end/{UNKNOWN}")).status_code == 404
    registration = await place.register("alice")
    await ada.get(f"live/end/{registration.session}")  # a form's token
    assert (await ada.post(f"live/end/{UNKNOWN}", {"reason": "x", "confirmed": "yes"})).status_code == 404
    assert await place.events("console.refused", lambda event: event["rule"] == "session.unknown", 2)


async def test_a_script_may_use_a_persons_token(place: Place) -> None:
    registration = await place.register("alice")
    token = place.hub.person("ada", READ, END)
    path = f"live/end/{registration.session}?reason=x&confirmed=yes"
    refused = await place.get(path, "POST", Authorization="token 0000")
    assert refused.status_code == 403 and live_session(place, registration.session)
    done = await place.get(path, "POST", Authorization=f"Bearer {token}")
    assert done.status_code == 200 and not live_session(place, registration.session)


def live_session(place: Place, session: str) -> LiveSession | None:
    return place.deployment.registry.get(session)


async def test_a_page_that_stays_open_is_not_an_event_each_time(place: Place) -> None:
    await place.register("alice")
    ada = place.visitor("ada", READ)
    await ada.get("live")
    for _ in range(3):
        answer = await ada.get("live/rows", **{"Sec-Fetch-Mode": "cors", "X-XSRFToken": ada.shown})
        assert answer.status_code == 200 and "<html" not in answer.text and "alice" in answer.text
    bob = place.visitor("bob", READ)
    await bob.get("live/rows")
    reads = await place.events("audit.read", count=3)
    assert [(read["subject"]["user"], read["query"]) for read in reads] == [
        ("ada", "order=newest"),
        ("ada", "order=newest (kept open)"),
        ("bob", "order=newest (kept open)"),
    ]
