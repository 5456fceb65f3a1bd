"""Alerts in the console: shown with their evidence, acknowledged by an event, and nothing else closes one."""

import asyncio
import json
import re
import time

import pytest

from jupyter_hpcsec.audit.alerts import SUSPICION
from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.gpu import GpuAlert
from jupyter_hpcsec.audit.kinds.node import NodeGap
from jupyter_hpcsec.audit.kinds.requests import TapRefused
from jupyter_hpcsec.audit.kinds.sessions import SessionVisited
from jupyter_hpcsec.console.page import ALERT, READ
from jupyter_hpcsec.console.views import alerts as view
from tests.console.conftest import PATIENCE_S, Place

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
SESSION = "4b" * 16


def mining(place: Place, **changes: object) -> int:
    evidence = {"kinds": "steady words", "score": 3, HOSTILE: "\u202etxt" + HOSTILE}
    event = {"rule": "R5", "state": "raised", "session": SESSION, "kernel": HOSTILE, "evidence": json.dumps(evidence)}
    event |= {"subject": Subject(user="alice" + HOSTILE), "reason": HOSTILE, "device": HOSTILE, "threshold": HOSTILE}
    return place.record(GpuAlert(**event | changes), "node")  # type: ignore[arg-type]


def seen_of(page: str) -> str:
    found = re.search(r'name="seen" value="([^"]+)"', page)
    assert found
    return found[1]


async def test_reading_needs_the_scope_and_acknowledging_its_own(place: Place) -> None:
    number = mining(place)
    nobody = place.visitor("eve")
    for path in ("alerts", f"alerts/{number}"):
        assert (await nobody.get(path)).status_code == 403
    ada = place.visitor("ada", READ)
    page = (await ada.get(f"alerts/{number}")).text
    assert "needs the scope" in page and "<textarea" not in page
    answer = await ada.post(
        f"alerts/{number}/acknowledge", {"note": "mine", "seen": "0" * 8 + "-0000-0000-0000-" + "0" * 12}
    )
    assert answer.status_code == 403
    refused = await place.events("console.refused", lambda event: event["rule"] == "console.scope", count=3)
    assert {event["subject"]["user"] for event in refused} == {"eve", "ada"}
    assert not [event for event in place.all_events() if event["kind"] == "alert.acknowledged"]


async def test_an_alert_is_acknowledged_with_a_note_and_opens_again_when_it_occurs_again(place: Place) -> None:
    number = mining(place)
    ada = place.visitor("ada", READ, ALERT)
    page = (await ada.get(f"alerts/{number}")).text
    assert SUSPICION in page and "steady words" in page and f"session/{SESSION}" in page
    answer = await ada.post(
        f"alerts/{number}/acknowledge", {"note": f"talked to her\r\n{HOSTILE}", "seen": seen_of(page)}
    )
    assert answer.status_code == 303
    [event] = await place.events("alert.acknowledged")
    assert event["subject"]["user"] == "ada" and event["trust"] == "gateway" and event["rule"] == "gpu.R5"
    assert set(event["sealed"]) == {"note"} and "talked" not in json.dumps(event)
    page = (await ada.get(answer.headers["Location"])).text
    assert "talked to her" in page and "by ada" in page and "<textarea" not in page and HOSTILE not in page
    assert "Nothing is open" in (await ada.get("alerts")).text
    assert str(number) in (await ada.get("alerts?state=acknowledged")).text
    again = await ada.post(
        f"alerts/{number}/acknowledge", {"note": "twice", "seen": seen_of(f'name="seen" value="{event["seen"]}"')}
    )
    assert again.status_code == 403, "it is not open"
    mining(place)
    assert "reopened" in (await ada.get("alerts")).text
    [read] = await place.events("audit.read", lambda e: e.get("query") == "state=acknowledged")
    assert (read["action"], read["subject"]["user"]) == ("alerts", "ada")


async def test_who_came_to_a_session_is_named(place: Place) -> None:
    subject = Subject(user="alice", impersonator="bob" + HOSTILE)
    number = place.record(SessionVisited(session=SESSION, subject=subject, visitor="user"))
    page = (await place.visitor("ada", READ).get(f"alerts/{number}")).text
    assert "who came" in page and "bob&#34;&gt;&lt;script" in page and HOSTILE not in page


def test_only_what_ends_an_alert_is_called_over() -> None:
    for event, said in (
        ({"kind": "gpu.alert", "rule": "R5", "state": "raised"}, "raised"),
        ({"kind": "gpu.alert", "rule": "R5", "state": "cleared"}, "over"),
        ({"kind": "gpu.node-alert", "rule": "R1", "part": "watch", "state": "cleared"}, "over"),
        ({"kind": "gpu.disagreement", "state": "cleared"}, "over"),
        ({"kind": "node.helper-heard"}, "over"),
        ({"kind": "session.ended"}, "the session ended"),
        ({"kind": "node.gap"}, "raised"),
    ):
        assert view.happened(1, event, None, "").what == said, event


async def test_what_was_not_seen_stays_open(place: Place) -> None:
    number = mining(place)
    ada = place.visitor("ada", READ, ALERT)
    seen = seen_of((await ada.get(f"alerts/{number}")).text)
    mining(place)  # between the page and the button
    assert (await ada.post(f"alerts/{number}/acknowledge", {"note": "seen it", "seen": seen})).status_code == 303
    page = (await ada.get(f"alerts/{number}")).text
    assert "<textarea" in page and "seen it" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"note": " \n ", "seen": ""}, "Write a note"),
        ({"note": "\u200b.", "seen": ""}, "Write a note"),
        ({"note": "x" * 1001, "seen": ""}, "longer than"),
        ({"note": "x", "seen": HOSTILE}, "open the alert again"),
        ({"note": "x", "seen": ""}, "open the alert again"),
    ],
)
async def test_a_form_that_is_none_is_refused(place: Place, fields: dict[str, str], said: str) -> None:
    number = mining(place)
    ada = place.visitor("ada", READ, ALERT)
    await ada.get(f"alerts/{number}")
    answer = await ada.post(f"alerts/{number}/acknowledge", fields)
    assert answer.status_code == 400 and said in answer.text and HOSTILE not in answer.text


async def test_without_the_forms_token_nothing_is_acknowledged(place: Place) -> None:
    number = mining(place)
    ada = place.visitor("ada", READ, ALERT)
    seen = seen_of((await ada.get(f"alerts/{number}")).text)
    answer = await ada.post(f"alerts/{number}/acknowledge", {"note": "x", "seen": seen, "_xsrf": "0"})
    assert answer.status_code == 403
    await place.events("console.refused", lambda event: event["rule"] == "console.xsrf")


async def test_an_acknowledgement_that_can_not_be_recorded_is_none(place: Place) -> None:
    number = mining(place)
    ada = place.visitor("ada", READ, ALERT)
    seen = seen_of((await ada.get(f"alerts/{number}")).text)
    await place.deployment.admin.stop()
    answer = await ada.post(f"alerts/{number}/acknowledge", {"note": "x", "seen": seen})
    assert answer.status_code == 503
    assert not [event for event in place.all_events() if event["kind"] == "alert.acknowledged"]


async def test_the_list_is_filtered_and_paged_and_hostile_text_is_text(place: Place) -> None:
    mining(place)
    place.record(NodeGap(session="9" * 32, subject=Subject(user="bob"), first=3, last=7))
    for number in range(52):
        place.log.note(
            TapRefused(session=f"{number:032x}", rule="tap.ws-malformed", subject=Subject(user="carl")), "gateway"
        )
    place.record(TapRefused(session="f" * 32, rule="tap.http-malformed", subject=Subject(user="carl")))
    ada = place.visitor("ada", READ)
    first = (await ada.get("alerts")).text
    assert first.count('<th scope="row">') == 50 and HOSTILE not in first
    older = re.search(r'href="[^"]*(alerts\?[^"]*before=[0-9]+[^"]*)"', first)
    assert older
    second = (await ada.get(older[1].replace("&amp;", "&"))).text
    assert second.count('<th scope="row">') == 5 and "Older ones" not in second
    assert "&lt;script&gt;" in second and HOSTILE not in second
    for query, count in (
        ("user=bob", 1),
        ("name=gpu.R5", 1),
        ("severity=low", 0),
        (f"session={SESSION}", 1),
        ("state=over", 0),
    ):
        assert (await ada.get(f"alerts?{query}")).text.count('<th scope="row">') == count, query


@pytest.mark.parametrize(
    "query", ["state=closed", "name=%22%3E", "severity=fatal", "before=-1", "before=1e9", "user=" + "x" * 500]
)
async def test_a_question_that_is_none_is_refused_with_a_sentence(place: Place, query: str) -> None:
    ada = place.visitor("ada", READ)
    assert (await ada.get(f"alerts?{query}")).status_code == 400


async def test_there_is_no_other_alert(place: Place) -> None:
    ada = place.visitor("ada", READ)
    for path in ("alerts/7", "alerts/999999999999999", "alerts/-1", "alerts/1%20", "alerts/1/acknowledge/"):
        assert (await ada.get(path)).status_code in {403, 404}


async def test_the_navigation_counts_what_is_open(place: Place) -> None:
    ada = place.visitor("ada", READ)
    assert "open</span>" not in (await ada.get("live")).text
    mining(place)
    end = time.monotonic() + PATIENCE_S
    while '<span class="unseen"> open</span>' not in (await ada.get("live")).text:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
