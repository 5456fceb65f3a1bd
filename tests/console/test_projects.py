"""Projects in the console: who sees which, that forged forms change nothing, that each change names its person."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jupyter_hpcsec.audit.kinds.sessions import SessionEnded
from jupyter_hpcsec.console.page import END, PROJECT, READ
from jupyter_hpcsec.console.views import projects as views
from tests.console.conftest import Place, Visitor
from tests.e2e.labpage import HOSTILE

TERMS = {"title": "Genomes", "purpose": "Who has\r\nwhich.", "users": "bob\r\n\r\nzoe ", "paths": "/data/genomics"}


def in_days(days: int) -> str:
    return str(datetime.now(UTC).date() + timedelta(days=days))


async def act(visitor: Visitor, name: str, action: str, **fields: str) -> int:
    """Send one of the forms of a project's page; the answer's status."""
    await visitor.get("projects/new")  # for a form's token, which whoever sees no form takes from there
    return (await visitor.post(f"project/{name}", {"action": action, "revision": "1", **fields})).status_code


async def propose(visitor: Visitor, name: str = "genomics", **changes: str) -> int:
    await visitor.get("projects/new")
    return (await visitor.post("projects/new", {"id": name, **TERMS, **changes})).status_code


async def test_from_a_proposal_to_a_renewal_each_in_its_persons_name(place: Place) -> None:
    alice, olga = place.visitor("alice"), place.visitor("olga", PROJECT)
    assert await propose(alice) == 303
    assert await act(alice, "genomics", "approve", review_on=in_days(20)) == 403
    page = (await olga.get("projects")).text
    assert "genomics" in page and "proposed" in page
    assert await act(olga, "genomics", "approve", review_on=in_days(20)) == 303
    page = (await alice.get("project/genomics")).text
    assert "Review soon" in page and "Ask for a renewal" in page and "Approve the purpose" not in page
    assert await act(alice, "genomics", "ask", reason="a second cohort") == 303
    assert "a second cohort" in (await olga.get("project/genomics")).text
    assert await act(olga, "genomics", "renew", review_on=in_days(200), reason="fine") == 303
    assert await act(alice, "genomics", "members", add_users="carol dave", remove_users="bob") == 303
    assert await act(alice, "genomics", "close", reason="done") == 400
    assert await act(alice, "genomics", "close", reason="done", confirmed="yes") == 303
    assert "done" in (await olga.get("project/genomics")).text
    kinds = ("proposed", "refused", "approved", "renewal-asked", "renewed", "changed", "closed")
    await place.events("project.closed")
    said = [(e["kind"], e["subject"]["user"]) for e in place.all_events() if e["kind"].startswith("project.")]
    people = ("alice", "alice", "olga", "alice", "olga", "alice", "alice")
    assert said == [(f"project.{kind}", user) for kind, user in zip(kinds, people, strict=True)]
    [changed] = await place.events("project.changed")
    assert changed["members"] == '{"users": ["carol", "dave", "zoe"], "groups": []}'


async def test_what_is_approved_is_what_was_read(place: Place) -> None:
    alice, olga = place.visitor("alice"), place.visitor("olga", PROJECT)
    await propose(alice)
    page = (await olga.get("project/genomics")).text
    assert '<input type="hidden" name="revision" value="1">' in page
    # while she reads, it becomes another one
    await alice.get("project/genomics/terms")
    assert (await alice.post("project/genomics/terms", {**TERMS, "paths": "/data/secret"})).status_code == 303
    for read in ("1", "", "0", "x"):
        fields = {"action": "approve", "review_on": in_days(9), "revision": read}
        assert (await olga.post("project/genomics", fields)).status_code == (403 if read == "1" else 400)
    assert (await place.gateway.project_show("genomics"))["state"] == "proposed"
    assert await act(olga, "genomics", "approve", review_on=in_days(9), revision="2") == 303
    assert (await place.gateway.project_show("genomics"))["state"] == "open"


async def test_other_peoples_projects_are_not_seen_and_not_changed(place: Place) -> None:
    alice, mallory, bob = place.visitor("alice"), place.visitor("mallory", READ, END), place.visitor("bob")
    await propose(alice)
    assert "genomics" not in (await mallory.get("projects")).text
    assert (await mallory.get("project/genomics")).status_code == 403
    assert (await mallory.get("project/genomics/terms")).status_code == 403
    for action in ("approve", "renew", "ask", "members", "close"):
        fields = {"review_on": in_days(9), "reason": "x", "add_users": "mallory", "confirmed": "yes"}
        assert await act(mallory, "genomics", action, **fields) == 403
    await mallory.get("projects/new")
    assert (await mallory.post("project/genomics/terms", TERMS)).status_code == 403
    # a member sees it, and what she sends all the same is the gateway's to refuse
    assert "Who has" in (await bob.get("project/genomics")).text
    assert await act(bob, "genomics", "members", add_users="mallory") == 403
    assert await act(bob, "genomics", "close", reason="x", confirmed="yes") == 403
    assert await propose(bob, "other", owner="alice") == 403
    assert await propose(bob, "genomics") == 403
    await place.events("project.refused", count=3)
    refused = await place.events("console.refused", lambda e: e["rule"].startswith("project."), 12)
    assert {event["subject"]["user"] for event in refused} == {"mallory", "bob"}
    assert (await place.gateway.project_show("genomics"))["revision"] == 1


async def test_a_colleagues_name_does_not_make_an_approval_of_ones_own_words(place: Place) -> None:
    olga, otto = place.visitor("olga", PROJECT), place.visitor("otto", PROJECT)
    assert await propose(olga, owner="otto") == 303
    page = (await olga.get("project/genomics")).text
    assert "Nobody approves alone" in page and "Approve the purpose" not in page
    assert await act(olga, "genomics", "approve", review_on=in_days(9)) == 403
    assert await act(otto, "genomics", "approve", review_on=in_days(9)) == 403
    refused = await place.events("project.refused", count=2)
    assert [(each["rule"], each["subject"]["user"]) for each in refused] == [
        ("project.four-eyes", "olga"),
        ("project.own", "otto"),
    ]
    assert (await place.gateway.project_show("genomics"))["state"] == "proposed"
    assert await act(place.visitor("petra", PROJECT), "genomics", "approve", review_on=in_days(9)) == 303


async def test_a_project_is_seen_by_the_members_of_its_groups(place: Place) -> None:
    await propose(place.visitor("alice"), groups="gene-lab")
    member, other = place.visitor("mia", groups=["gene-lab"]), place.visitor("mallory", groups=["gene"])
    assert "genomics" in (await member.get("projects")).text
    page = (await member.get("project/genomics")).text
    assert "gene-lab" in page and "Change members" not in page
    assert await act(member, "genomics", "members", add_users="mallory") == 403
    assert "genomics" not in (await other.get("projects")).text
    assert (await other.get("project/genomics")).status_code == 403


async def test_forms_that_are_none_of_ours_change_nothing(place: Place) -> None:
    alice, olga = place.visitor("alice"), place.visitor("olga", PROJECT)
    await propose(alice)
    await olga.get("project/genomics")
    fields = {"action": "approve", "review_on": in_days(9), "revision": "1"}
    for forged in (
        await olga.post("project/genomics", {**fields, "_xsrf": "0" * 32}),
        await olga.post("project/genomics", fields, **{"Sec-Fetch-Site": "cross-site"}),
        await olga.post("project/genomics", fields, Origin="https://evil.example"),
    ):
        assert forged.status_code == 403
    for malformed in ({"action": "delete"}, {"action": "approve"}, {"action": "approve", "review_on": "soon"}):
        assert (await olga.post("project/genomics", malformed)).status_code == 400
    await place.events("console.refused", lambda event: event["rule"] == "console.xsrf", 3)
    assert (await place.gateway.project_show("genomics"))["state"] == "proposed"


async def test_nothing_of_a_project_is_markup(place: Place) -> None:
    alice, olga = place.visitor("alice"), place.visitor("olga", PROJECT)
    names = HOSTILE.replace("/", "")
    assert (
        await propose(alice, title=HOSTILE[:120], purpose=HOSTILE, users=names, groups=names, paths=f"/{names}") == 303
    )
    assert await act(olga, "genomics", "approve", review_on=in_days(9)) == 303
    assert await act(alice, "genomics", "ask", reason=HOSTILE) == 303
    for path in ("projects", "project/genomics", "project/genomics/terms"):
        text = (await olga.get(path)).text
        assert "struck" in text and "<img" not in text and "<script>" not in text
    for bad in (HOSTILE, "../etc", "a;id", "A b"):
        assert await propose(alice, bad[:64]) == 400


async def test_nothing_is_shown_that_is_not_recorded(place: Place) -> None:
    alice = place.visitor("alice")
    await propose(alice)
    await alice.get("project/genomics")
    reads = await place.events("audit.read", lambda event: event["action"] == "projects")
    assert "project=genomics" in {event["query"] for event in reads}
    await place.deployment.admin.stop()
    answer = await alice.get("project/genomics")
    assert answer.status_code == 503 and "Who has" not in answer.text


async def test_its_events_are_one_step_away_for_who_may_read_them(place: Place) -> None:
    alice, rita = place.visitor("alice"), place.visitor("rita", PROJECT, READ)
    assert await propose(alice) == 303
    place.record(SessionEnded(session="a1" * 16))  # what came before it is in the index, too
    link = 'href="/services/hpcsec/search?kind=project.*&amp;text=genomics&amp;newest=1"'
    assert link in (await rita.get("project/genomics")).text
    assert link not in (await alice.get("project/genomics")).text
    found = (await rita.get("search?kind=project.*&text=genomics&newest=1")).text
    assert "Project proposed" in found and "1 event," in found


async def test_what_was_typed_into_a_form_is_not_lost(place: Place) -> None:
    alice, olga = place.visitor("alice"), place.visitor("olga", PROJECT)
    await alice.get("projects/new")
    typed = {"id": "genomics", **TERMS, "paths": "data/../genomics", "account": HOSTILE[:40]}
    for path in ("projects/new", "project/genomics/terms"):
        answer = await alice.post(path, typed)
        assert answer.status_code == 400 and "must be absolute" in answer.text and 'value="Genomes"' in answer.text
        assert ">\nWho has\nwhich.</textarea>" in answer.text and ">\nbob\n\nzoe </textarea>" in answer.text
        assert "data/../genomics" in answer.text and "<img" not in answer.text
        assert await propose(alice, title="Genomes") == 303 or path != "projects/new"
    await olga.get("project/genomics")
    fields = {"action": "approve", "revision": "1", "review_on": in_days(9999)}
    answer = await olga.post("project/genomics", fields)
    assert answer.status_code == 403 and "Nothing was changed." in answer.text
    assert f'value="{in_days(9999)}"' in answer.text and "The review date must be" in answer.text
    answer = await alice.post("project/genomics", {"action": "close", "reason": "it is over"})
    assert answer.status_code == 400 and 'value="it is over"' in answer.text and "tick the box" in answer.text
    await place.events("console.refused", lambda each: each["rule"] == "console.malformed", 3)
    await place.events("console.refused", lambda each: each["rule"] == "project.review-date")


async def test_other_terms_need_an_approval(place: Place) -> None:
    alice, olga = place.visitor("alice"), place.visitor("olga", PROJECT)
    await propose(alice)
    await act(olga, "genomics", "approve", review_on=in_days(90))
    page = (await alice.get("project/genomics/terms")).text
    assert "take the approval away" in page and ">\nWho has\nwhich.</textarea>" in page
    answer = await alice.post("project/genomics/terms", {**TERMS, "purpose": "Mining", "owner": "alice"})
    assert answer.status_code == 303
    assert (await place.gateway.project_show("genomics"))["state"] == "proposed"


@pytest.mark.parametrize(
    ("state", "reader", "is_office", "offered"),
    [
        ({}, "bob", False, ""),
        ({}, "alice", False, "change ask"),
        ({}, "olga", True, "change renew"),
        ({}, "alice", True, "change ask other_eyes"),
        ({"approved_at": 0, "state": "proposed"}, "olga", True, "change approve"),
        ({"approved_at": 0, "state": "proposed"}, "alice", True, "change other_eyes"),
        ({"approved_at": 0, "state": "proposed"}, "carol", True, "change other_eyes"),
        ({"approved_at": 0, "state": "proposed", "proposed_by": "olga"}, "olga", True, "change other_eyes"),
        ({}, "carol", True, "change renew"),
        ({"asked_at": 5, "asked_by": "olga"}, "olga", True, "change other_eyes"),
        ({"asked_at": 5}, "alice", False, "change"),
        ({"state": "closed", "closed_at": 9}, "olga", True, ""),
    ],
)
def test_what_is_offered(state: dict[str, Any], reader: str, is_office: bool, offered: str) -> None:
    may = views.may(shown(**state), reader, is_office=is_office)
    assert " ".join(name for name in views.May.__dataclass_fields__ if getattr(may, name)) == offered


def shown(name: str = "genomics", **changes: Any) -> views.Project:
    terms = {"title": "T", "purpose": "P", "owner": "alice", "users": ["b"], "groups": [], "paths": [], "account": ""}
    people: dict[str, Any] = dict.fromkeys(
        ("proposed_by", "approved_by", "asked_by", "asked_reason", "closed_by", "closed_reason"), ""
    )
    people["authors"] = ["carol"]
    times = {"proposed_at": 1, "approved_at": 2, "asked_at": 0, "closed_at": 0, "revision": 1}
    facts = {"state": "open", "review_on": "2027-06-30", "days_left": 40, "warning": "", "why_not": ""}
    return views.project({"id": name, "terms": terms, **people, **times, **facts, **changes})


def test_what_waits_stands_first_and_what_is_closed_last() -> None:
    rows = [
        shown("closed", state="closed"),
        shown("later"),
        shown("late", state="expired", days_left=-3),
        shown("new", state="proposed", review_on=""),
        shown("asked", asked_at=4, review_on="2027-09-01"),
    ]
    assert [row.id for row in views.in_order(rows)] == ["new", "late", "asked", "later", "closed"]
    assert [row.review for row in rows] == ["", "in 40 days", "3 days overdue", "", "in 40 days"]
