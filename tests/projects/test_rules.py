"""Who may do what with a project: refusals first, each with whom to ask."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.projects import rules
from jupyter_hpcsec.projects.rules import UNAPPROVED_LIMIT, Site
from jupyter_hpcsec.projects.values import Actor, Project
from tests.projects.test_values import PROJECT, TERMS

SITE = Site(contact="office@hpc.example", longest_days=366)
TODAY = date(2027, 1, 1)
REVIEW = date(2027, 6, 30)
OPEN = replace(PROJECT, approved_by="olga", approved_at=2, review_on=REVIEW.isoformat())
CLOSED = replace(OPEN, closed_by="alice", closed_at=9)
ALICE, BOB, OLGA = Actor("alice"), Actor("bob"), Actor("olga", is_office=True)
ALICE_IN_OFFICE = Actor("alice", is_office=True)


def refused(rule: str, call: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as refusal:
        call()
    assert refusal.value.rule == rule
    return refusal.value.reason


@pytest.mark.parametrize(
    ("project", "user", "today", "rule", "said"),
    [
        (None, "alice", TODAY, "project.unknown", "office@hpc.example"),
        (OPEN, "mallory", TODAY, "project.not-a-member", "office@hpc.example"),
        (CLOSED, "mallory", TODAY, "project.not-a-member", "office@hpc.example"),
        (CLOSED, "alice", TODAY, "project.closed", "office@hpc.example"),
        (PROJECT, "alice", TODAY, "project.unapproved", "office@hpc.example"),
        (OPEN, "alice", date(2027, 7, 1), "project.expired", "2027-06-30"),
    ],
)
def test_no_new_session(project: Project | None, user: str, today: date, rule: str, said: str) -> None:
    assert said in refused(rule, lambda: rules.admit(project, "genomics", user, ["users"], today, SITE))


def test_who_is_no_member_learns_nothing_of_a_project() -> None:
    said = refused("project.not-a-member", lambda: rules.admit(CLOSED, "genomics", "mallory", [], TODAY, SITE))
    assert "alice" not in said and "closed" not in said


def test_an_expired_review_names_owner_office_and_day() -> None:
    late = date(2027, 7, 1)
    said = refused("project.expired", lambda: rules.admit(OPEN, "genomics", "bob", [], late, SITE))
    assert "alice" in said and "office@hpc.example" in said and "2027-06-30" in said


def test_a_member_is_admitted_until_the_review_date() -> None:
    for user, groups in (("alice", []), ("bob", []), ("carol", ["genomics"])):
        rules.admit(OPEN, "genomics", user, groups, REVIEW, SITE)


def test_a_review_that_is_near_is_told() -> None:
    assert rules.warning(OPEN, date(2027, 5, 30), SITE) == ""
    assert "30 days left" in rules.warning(OPEN, date(2027, 5, 31), SITE)
    assert "last day" in rules.warning(OPEN, REVIEW, SITE)
    assert "asked for" in rules.warning(replace(OPEN, asked_at=3), REVIEW, SITE)
    assert rules.warning(OPEN, date(2027, 7, 1), SITE) == "" == rules.warning(PROJECT, TODAY, SITE)


def test_proposals() -> None:
    foreign = replace(TERMS, owner="carol")
    refused("project.owner", lambda: rules.propose(None, "other", foreign, BOB, 5, SITE))
    refused("project.not-yours", lambda: rules.propose(OPEN, "genomics", TERMS, BOB, 5, SITE))
    refused("project.owner", lambda: rules.propose(OPEN, "genomics", foreign, ALICE, 5, SITE))
    refused("project.closed", lambda: rules.propose(CLOSED, "genomics", TERMS, ALICE, 5, SITE))
    with pytest.raises(Malformed):
        rules.propose(None, "../x", TERMS, ALICE, 5, SITE)
    refused("project.too-many", lambda: rules.propose(None, "x", TERMS, ALICE, 5, SITE, unapproved=UNAPPROVED_LIMIT))
    assert rules.propose(None, "x", TERMS, OLGA, 5, SITE, unapproved=UNAPPROVED_LIMIT).id == "x"
    assert rules.propose(None, "genomics", TERMS, ALICE, 1, SITE, unapproved=UNAPPROVED_LIMIT - 1) == PROJECT
    assert rules.propose(None, "other", foreign, OLGA, 5, SITE).proposed_by == "olga"


def test_other_terms_take_the_approval_away() -> None:
    asked = replace(OPEN, asked_by="alice", asked_at=4, asked_reason="more")
    changed = rules.propose(asked, "genomics", replace(TERMS, purpose="Mining."), ALICE, 5, SITE)
    assert (changed.approved_at, changed.asked_at, changed.revision) == (0, 0, 2)
    refused("project.unapproved", lambda: rules.admit(changed, "genomics", "alice", [], TODAY, SITE))


def test_approvals() -> None:
    approve = rules.approve
    refused("project.office", lambda: approve(PROJECT, REVIEW, ALICE, 5, TODAY, SITE))
    refused("project.own", lambda: approve(PROJECT, REVIEW, ALICE_IN_OFFICE, 5, TODAY, SITE))
    refused("project.approved", lambda: approve(OPEN, REVIEW, OLGA, 5, TODAY, SITE))
    refused("project.changed", lambda: approve(PROJECT, REVIEW, OLGA, 5, TODAY, SITE, seen=2))
    refused("project.closed", lambda: approve(CLOSED, REVIEW, OLGA, 5, TODAY, SITE))
    for day in (TODAY, date(2020, 1, 1), date(2028, 1, 3)):
        refused("project.review-date", lambda day=day: approve(PROJECT, day, OLGA, 5, TODAY, SITE))
    approved = approve(PROJECT, REVIEW, OLGA, 2, TODAY, SITE, seen=PROJECT.revision)
    assert approved == replace(OPEN, revision=2)


def test_nobody_approves_what_they_proposed_or_changed() -> None:
    eve = Actor("eve", is_office=True)
    approve = rules.approve

    def refuses(project: Project, actor: Actor) -> None:
        said = refused("project.four-eyes", lambda: approve(project, REVIEW, actor, 5, TODAY, SITE))
        assert "somebody else" in said and "office@hpc.example" in said

    # a colleague's name stands there, and the words are one's own
    named = rules.propose(None, "mining", replace(TERMS, owner="bob"), OLGA, 1, SITE)
    refuses(named, OLGA)
    approve(named, REVIEW, eve, 5, TODAY, SITE)
    # one comma by a colleague does not make them the colleague's
    changed = rules.propose(named, "mining", replace(TERMS, owner="bob", purpose="Mining."), eve, 2, SITE)
    refuses(changed, OLGA)
    refuses(changed, eve)
    # who is let in is part of what is approved
    let_in = rules.set_members(PROJECT, ["olga"], [], OLGA, SITE)
    refuses(let_in, OLGA)
    approve(let_in, REVIEW, eve, 5, TODAY, SITE)
    # a registry of before knows its last proposer alone
    refuses(replace(named, authors=()), OLGA)


def test_an_approval_ends_what_its_authors_answer_for() -> None:
    eve = Actor("eve", is_office=True)
    approved = rules.approve(rules.propose(None, "x", TERMS, OLGA, 1, SITE), REVIEW, eve, 5, TODAY, SITE)
    helped = rules.set_members(approved, ["bob"], [], OLGA, SITE)
    changed = rules.propose(helped, "x", replace(TERMS, title="More"), ALICE, 6, SITE)
    assert changed.authors == ("alice",)
    assert rules.approve(changed, REVIEW, OLGA, 7, TODAY, SITE).approved_by == "olga"


def test_nobody_grants_a_renewal_that_they_asked_for() -> None:
    asked = rules.ask(OPEN, "in her name", OLGA, 5, SITE)
    day = date(2027, 12, 31)
    refused("project.four-eyes", lambda: rules.renew(asked, day, OLGA, TODAY, SITE))
    assert rules.renew(asked, day, Actor("eve", is_office=True), TODAY, SITE).review_on == "2027-12-31"


def test_renewals() -> None:
    day = date(2027, 12, 31)
    refused("project.office", lambda: rules.renew(OPEN, day, ALICE, TODAY, SITE))
    refused("project.own", lambda: rules.renew(OPEN, day, ALICE_IN_OFFICE, TODAY, SITE))
    refused("project.unapproved", lambda: rules.renew(PROJECT, day, OLGA, TODAY, SITE))
    refused("project.closed", lambda: rules.renew(CLOSED, day, OLGA, TODAY, SITE))
    refused("project.not-yours", lambda: rules.ask(OPEN, "please", BOB, 5, SITE))
    refused("project.unapproved", lambda: rules.ask(PROJECT, "please", ALICE, 5, SITE))
    asked = rules.ask(OPEN, "a second cohort", ALICE, 5, SITE)
    assert (asked.review_on, asked.asked_by) == (OPEN.review_on, "alice")
    renewed = rules.renew(asked, day, OLGA, date(2027, 7, 5), SITE)
    assert (renewed.review_on, renewed.asked_at, renewed.revision) == ("2027-12-31", 0, 3)


def test_members_and_the_end() -> None:
    refused("project.not-yours", lambda: rules.set_members(OPEN, ["mallory"], [], Actor("mallory"), SITE))
    refused("project.not-yours", lambda: rules.close(OPEN, "mine", BOB, 5, SITE))
    refused("project.closed", lambda: rules.set_members(CLOSED, [], [], OLGA, SITE))
    refused("project.closed", lambda: rules.close(CLOSED, "twice", OLGA, 5, SITE))
    assert rules.set_members(OPEN, ["zoe", "bob"], [], ALICE, SITE).terms.users == ("bob", "zoe")
    closed = rules.close(OPEN, "done", ALICE, 9, SITE)
    assert (closed.closed_by, closed.closed_reason) == ("alice", "done")


def test_without_an_office_administrators_are_named() -> None:
    said = refused("project.unknown", lambda: rules.admit(None, "x", "alice", [], TODAY, Site()))
    assert "your administrators" in said
