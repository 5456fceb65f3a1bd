"""The registry at work, behind a real admin socket: what is refused and recorded, and that nothing slips in between."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.audit.events import Event, Trust, kind_of
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.projectoffice import ProjectOffice
from jupyter_hpcsec.hub.projectstore import FILE, ProjectStore
from jupyter_hpcsec.projects.rules import UNAPPROVED_LIMIT, Site
from jupyter_hpcsec.tunnel import acting
from jupyter_hpcsec.tunnel.acting import Acting
from jupyter_hpcsec.tunnel.broker import NoAccess
from jupyter_hpcsec.tunnel.observer import CALLER
from jupyter_hpcsec.tunnel.peer import PeerCredentials
from tests.hub.deployment import Deployment
from tests.hub.test_broker import request as enrolment

NOW = 1_800_000_000  # 2027-01-15
REVIEW = "2027-06-30"
TERMS: dict[str, Any] = {"title": "Genomes", "purpose": "Who has\nwhich.", "owner": "alice", "users": ["bob"]}
HOSTILE = ["<img src=x onerror=alert(1)>", "../../etc", "$(id)", "a;id", "x\u202e", "{{7*7}}", "--wrap=id", "p\nq"]


class Witness:
    """An observer that keeps events in a list, and may be told to fail or to be slow."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fails = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.waits = asyncio.Event()

    def note(self, event: Event, trust: Trust = "gateway") -> None:
        self.events.append(event)

    async def keep(self, event: Event, trust: Trust = "gateway") -> None:
        self.waits.set()
        await self.may_go_on.wait()
        self.require()
        self.events.append(event)

    def require(self) -> None:
        if self.fails:
            raise Unavailable("the record can't be written")

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if kind_of(event) == kind]


@pytest.fixture
async def witness() -> Witness:
    return Witness()


@pytest.fixture
def time() -> dict[str, float]:
    return {"now": NOW}


@pytest.fixture
async def office(tmp_path: Path, witness: Witness, time: dict[str, float]) -> AsyncIterator[ProjectOffice]:
    (tmp_path / "state").mkdir(mode=0o700)
    store = ProjectStore(tmp_path / "state" / FILE)
    site = Site(contact="office@hpc.example")
    made = ProjectOffice(store, mode="required", site=site, observer=witness, clock=lambda: time["now"])
    yield made
    made.shut()


@pytest.fixture
async def deployment(
    tmp_path: Path, office: ProjectOffice, witness: Witness, time: dict[str, float]
) -> AsyncIterator[Deployment]:
    deployment = Deployment(tmp_path)
    deployment.projects, deployment.observer, deployment.clock = office, witness, lambda: time["now"]
    await deployment.start()
    yield deployment
    await deployment.stop()


@pytest.fixture
def hub() -> Iterator[None]:
    """Calls of this test come from another account, as the hub's do."""
    before = CALLER.set(PeerCredentials(1, os.geteuid() + 1, 1))
    yield
    CALLER.reset(before)


async def make_open(deployment: Deployment, name: str = "genomics", **changes: Any) -> None:
    terms = TERMS | changes
    await deployment.client.project_propose(name, **terms, on_behalf=terms["owner"])
    await deployment.client.project_approve(name, REVIEW)


async def rule_of(call: Any) -> str:
    with pytest.raises(Refused) as refusal:
        await call
    return refusal.value.rule


async def test_no_session_without_a_project_that_is_open_and_ones_own(
    deployment: Deployment, witness: Witness, time: dict[str, float]
) -> None:
    register = deployment.register
    assert await rule_of(register()) == "project.needed"
    assert await rule_of(register(project="genomics")) == "project.unknown"
    await deployment.client.project_propose("genomics", **TERMS)
    assert await rule_of(deployment.client.project_approve("genomics", REVIEW)) == "project.four-eyes"
    await make_open(deployment, "other")
    await deployment.client.project_propose("genomics", **TERMS, on_behalf="alice")
    assert await rule_of(register(project="genomics")) == "project.unapproved"
    await deployment.client.project_approve("genomics", REVIEW, on_behalf="olga", as_office=True)
    assert await rule_of(register("mallory", project="genomics", groups=["bob"])) == "project.not-a-member"
    registration = await register(project="genomics")
    assert (await deployment.client.show(registration.session))["project"] == "genomics"
    assert [session["project"] for session in await deployment.client.sessions()] == ["genomics"]
    time["now"] += 200 * 86400
    assert await rule_of(register(project="genomics")) == "project.expired"
    refusals = witness.of("session.refused")
    assert [event.rule for event in refusals[1:]] == [
        "project.unknown", "project.unapproved", "project.not-a-member", "project.expired",
    ]  # fmt: skip
    assert {event.project for event in refusals[1:]} == {"genomics"}


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_that_are_none_start_nothing(deployment: Deployment, name: str) -> None:
    assert await rule_of(deployment.register(project=name)) == "project.unknown"
    with pytest.raises(Malformed):
        await deployment.client.project_propose(name, **TERMS)
    assert (await deployment.client.projects())["projects"] == []


async def test_a_session_that_runs_goes_on_when_its_project_is_closed(deployment: Deployment) -> None:
    await make_open(deployment)
    registration = await deployment.register("bob", project="genomics")
    await deployment.client.project_close("genomics", "done")
    assert (await deployment.client.show(registration.session))["state"] == "waiting"
    assert await rule_of(deployment.register("bob", project="genomics")) == "project.closed"


async def test_none_slips_in_behind_a_project_that_is_closed_while_the_policy_is_asked(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_open(deployment)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_session: object) -> None:
        asked.set()
        await may_answer.wait()

    monkeypatch.setattr(deployment.broker, "admit", slow)
    registering = asyncio.create_task(deployment.register(project="genomics"))
    await asked.wait()
    await deployment.client.project_close("genomics", "found out")
    may_answer.set()
    assert await rule_of(registering) == "project.closed"
    assert await deployment.client.sessions() == []


@pytest.mark.parametrize("what", ["closed", "expired", "unapproved", "not-a-member"])
async def test_a_job_that_waited_in_the_queue_does_not_begin_in_a_project_that_is_not_open_any_more(
    deployment: Deployment, office: ProjectOffice, what: str
) -> None:
    await make_open(deployment)
    queued = await deployment.register("bob", project="genomics")
    running = await deployment.register("alice", project="genomics")
    await deployment.broker.enrol(enrolment(running), "x", NOW)
    client = deployment.client
    match what:
        case "closed":
            await client.project_close("genomics", "found out")
        case "expired":
            office._clock = lambda: NOW + 200 * 86400
        case "unapproved":
            await client.project_propose("genomics", **(TERMS | {"purpose": "Mining."}), on_behalf="alice")
        case _:
            await client.project_members("genomics", remove_users=["bob"], on_behalf="alice")
    with pytest.raises(NoAccess, match="project genomics") as refusal:
        await deployment.broker.enrol(enrolment(queued), "x", NOW)
    assert (refusal.value.rule, refusal.value.session) == (f"project.{what}", queued.session)
    assert (await client.show(running.session))["state"] == "enrolled"


@pytest.mark.usefixtures("hub")
async def test_the_hub_changes_nothing_and_acts_for_nobody(deployment: Deployment) -> None:
    desk = deployment.desk
    for name in ("", "alice"):
        who = {"on_behalf": name, "as_office": True}
        for call in (
            desk.project_propose("x", **who, **TERMS),
            desk.project_approve("x", **who, review_on=REVIEW),
            desk.project_renew("x", **who, review_on=REVIEW, reason="r"),
            desk.project_members("x", **who, add_users=["m"]),
            desk.project_close("x", **who, reason="r"),
        ):
            assert await rule_of(call) == "project.caller"
    assert await rule_of(desk.projects("", [])) == "project.caller"
    assert await rule_of(desk.project_show("x")) == "project.caller"
    assert (await desk.projects("alice", []))["projects"] == []


async def test_root_acts_for_nobody_where_the_gateway_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting.os, "geteuid", lambda: 990)
    before = CALLER.set(PeerCredentials(1, 0, 0))
    try:
        with pytest.raises(Refused) as refusal:
            acting.acting("olga", as_office=True)
        assert refusal.value.rule == "admin.on-behalf"
        assert acting.acting("", as_office=False) == Acting("uid 0", True, acting.Subject(account="uid 0"))
    finally:
        CALLER.reset(before)


async def test_nobody_fills_the_registry_with_proposals(deployment: Deployment) -> None:
    client = deployment.client
    for number in range(UNAPPROVED_LIMIT):
        await client.project_propose(f"p{number}", **TERMS, on_behalf="alice")
    await client.project_close("p1", "to make room", on_behalf="alice")  # which it does not: it is kept
    assert await rule_of(client.project_propose("more", **TERMS, on_behalf="alice")) == "project.too-many"
    await client.project_propose("p0", **TERMS, on_behalf="alice")  # other terms for one that there is
    await client.project_propose("other", **(TERMS | {"owner": "carol"}), on_behalf="carol")
    await client.project_approve("p0", REVIEW, on_behalf="olga", as_office=True)
    await client.project_propose("more", **TERMS, on_behalf="alice")


async def test_each_change_is_on_record_before_it_is_made_and_names_the_person(
    deployment: Deployment, witness: Witness
) -> None:
    client = deployment.client
    assert await rule_of(client.project_approve("genomics", REVIEW)) == "project.unknown"
    await client.project_propose("genomics", **TERMS, on_behalf="alice")
    assert await rule_of(client.project_approve("genomics", REVIEW, on_behalf="alice")) == "project.office"
    assert await rule_of(client.project_approve("genomics", REVIEW, on_behalf="alice", as_office=True)) == "project.own"
    await client.project_approve("genomics", REVIEW, on_behalf="olga", as_office=True)
    await client.project_members("genomics", add_users=["zoe"], remove_users=["bob"], on_behalf="alice")
    await client.project_renew("genomics", reason="a second cohort", on_behalf="alice")
    await client.project_renew("genomics", review_on="2027-12-31", on_behalf="olga", as_office=True)
    shown = await client.project_close("genomics", "published", on_behalf="alice")
    assert (shown["state"], shown["terms"]["users"]) == ("closed", ["zoe"])
    account = f"uid {os.geteuid()}"
    said = [(kind_of(e), e.subject.user, e.decision) for e in witness.events if kind_of(e).startswith("project.")]
    assert said == [
        ("project.refused", "", "refused"),
        ("project.proposed", "alice", "allowed"),
        ("project.refused", "alice", "refused"),
        ("project.refused", "alice", "refused"),
        ("project.approved", "olga", "allowed"),
        ("project.changed", "alice", "allowed"),
        ("project.renewal-asked", "alice", "allowed"),
        ("project.renewed", "olga", "allowed"),
        ("project.closed", "alice", "allowed"),
    ]
    assert {event.subject.account for event in witness.events if kind_of(event).startswith("project.")} == {account}
    (renewed,) = witness.of("project.renewed")
    assert (renewed.project, renewed.review_on, renewed.review_before) == ("genomics", "2027-12-31", REVIEW)  # type: ignore[attr-defined]
    (proposed,), (approved,) = witness.of("project.proposed"), witness.of("project.approved")
    assert proposed.purpose == "Who has which." and proposed.object.sha256 == approved.object.sha256 != ""  # type: ignore[attr-defined]


async def test_what_cannot_be_recorded_is_not_done(deployment: Deployment, witness: Witness) -> None:
    await deployment.client.project_propose("genomics", **TERMS, on_behalf="alice")
    witness.fails = True
    with pytest.raises(Unavailable):
        await deployment.client.project_approve("genomics", REVIEW)
    witness.fails = False
    assert (await deployment.client.project_show("genomics"))["state"] == "proposed"
    witness.may_go_on.clear()
    witness.waits.clear()
    approving = asyncio.create_task(deployment.client.project_approve("genomics", REVIEW))
    await witness.waits.wait()
    assert await rule_of(deployment.register(project="genomics")) == "project.unapproved"
    witness.may_go_on.set()
    assert (await approving)["state"] == "open"


async def test_what_is_recorded_and_cannot_be_stored_is_said(
    deployment: Deployment, witness: Witness, office: ProjectOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_project: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(office._store, "put", full)
    with pytest.raises(Unavailable, match="full"):
        await deployment.client.project_propose("genomics", **TERMS)
    assert [kind_of(event) for event in witness.events] == ["project.proposed", "project.refused", "admin.refused"]
    assert witness.events[1].rule == "project.unavailable"


async def test_a_user_sees_their_own_and_what_is_wrong_with_them(
    deployment: Deployment, time: dict[str, float]
) -> None:
    await make_open(deployment)
    await make_open(deployment, "other", owner="carol", users=[], groups=["staff"])
    await deployment.client.project_propose("draft", **(TERMS | {"owner": "bob"}))
    await make_open(deployment, "gone")
    await deployment.client.project_close("gone", "done")
    answer = await deployment.client.projects("bob", ["students"])
    assert (answer["mode"], answer["office"]) == ("required", "the project office (office@hpc.example)")
    assert [each["id"] for each in answer["projects"]] == ["draft", "genomics"]
    assert "not approved yet" in answer["projects"][0]["why_not"]
    assert [each["id"] for each in (await deployment.client.projects("dave", ["staff"]))["projects"]] == ["other"]
    assert len((await deployment.client.projects())["projects"]) == 4
    time["now"] += 150 * 86400
    assert "days left" in (await deployment.client.projects("bob"))["projects"][1]["warning"]
    time["now"] += 50 * 86400
    assert (await deployment.client.projects("bob"))["projects"][1]["state"] == "expired"


async def test_optional_and_off(deployment: Deployment, office: ProjectOffice) -> None:
    office.mode = "optional"
    assert await rule_of(deployment.register(project="none-such")) == "project.unknown"
    await deployment.register()
    office.mode = "off"
    await deployment.register("bob", project="account7")


async def test_where_projects_are_optional_nobody_leaves_a_review_by_naming_none(
    deployment: Deployment, office: ProjectOffice, time: dict[str, float]
) -> None:
    office.mode = "optional"
    await deployment.client.project_propose("draft", **(TERMS | {"users": ["bob"]}))
    await deployment.register("bob")  # a proposal binds nobody
    assert (await deployment.client.projects("bob"))["mode"] == "optional"
    await make_open(deployment)
    assert (await deployment.client.projects("bob"))["mode"] == "required"
    assert (await deployment.client.projects("carol"))["mode"] == "optional"
    assert await rule_of(deployment.register("bob")) == "project.needed"
    time["now"] += 200 * 86400  # its review is overdue
    assert await rule_of(deployment.register("bob")) == "project.needed"
    assert await rule_of(deployment.register("bob", project="genomics")) == "project.expired"
    # nor by taking the approval away
    await deployment.client.project_propose("genomics", **(TERMS | {"purpose": "Another"}), on_behalf="alice")
    assert await rule_of(deployment.register("bob")) == "project.needed"
    await deployment.client.project_close("genomics", "done")
    await deployment.register("bob")


async def test_days_that_are_none(deployment: Deployment) -> None:
    await deployment.client.project_propose("genomics", **TERMS, on_behalf="alice")
    for day in ("2027-02-30", "soon", "2027-6-1", ""):
        with pytest.raises(Malformed):
            await deployment.client.project_approve("genomics", day)
