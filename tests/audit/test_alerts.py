"""The table of alerts: what is one, and what is not."""

import json
from pathlib import Path

import pytest

from jupyter_hpcsec.audit import alerts
from jupyter_hpcsec.audit.alerts import SEVERITIES, WATCHED, Watched, ended, raised
from jupyter_hpcsec.audit.kinds import KINDS
from jupyter_hpcsec.gpu.alerts import TITLES


@pytest.mark.parametrize("watched", WATCHED.values(), ids=lambda each: each.name)
def test_each_row_names_a_kind_with_its_fields(watched: Watched) -> None:
    kind = KINDS[watched.kind]
    fields = set(kind.__struct_fields__)
    assert watched.severity in SEVERITIES
    assert set(watched.by) - {"user", "impersonator"} <= fields
    assert set(watched.where) <= fields
    assert watched.title and watched.advice.endswith(".")
    assert not any("*" in rule[:-1] for rule in watched.rules), "only a trailing one means something"
    assert watched.at_least == 1 or watched.within_s > 0
    if watched.over:
        assert set(watched.over[1]) <= set(KINDS[watched.over[0]].__struct_fields__)


def test_the_rules_of_the_gpu_watch_are_all_there() -> None:
    assert {name.removeprefix("gpu.") for name in WATCHED if name.startswith("gpu.R")} == set(TITLES)


def test_what_no_row_names_is_no_alert() -> None:
    assert raised({"kind": "cell.executed", "rule": "R5", "reason": "audit.gap"}) is None
    assert raised({"kind": "gpu.alert", "rule": "R5", "state": "cleared"}) is None
    assert raised({"kind": "gpu.alert", "rule": "R55", "state": "raised"}) is None
    assert raised({}) is None


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"kind": "gpu.alert", "rule": "R5", "state": "raised"}, "gpu.R5"),
        ({"kind": "enrolment.refused", "rule": "enrol.token-used"}, "token.used"),
        ({"kind": "enrolment.refused", "rule": "attest.other-user"}, "attest.refused"),
        ({"kind": "enrolment.refused", "rule": "token.expired"}, "enrolment.refused"),
        ({"kind": "tap.refused", "rule": "tap.ws-malformed"}, "tap.malformed"),
        ({"kind": "tap.refused", "rule": "tap.unrecorded"}, "tap.refused"),
        ({"kind": "node.gap"}, "node.gap"),
        ({"kind": "connection.refused", "rule": "lane.revoked"}, "certificate.revoked"),
        ({"kind": "admin.refused", "rule": "project.caller"}, "admin.refused"),
        ({"kind": "project.refused", "rule": "project.own"}, "project.refused"),
        ({"kind": "session.visited", "visitor": "user"}, "session.visited"),
        ({"kind": "node.request-refused", "rule": "app.owner"}, "app.refused"),
        ({"kind": "node.upload-failed", "rule": "upload.differs"}, "upload.differs"),
        ({"kind": "gpu.node-lost"}, "gpu.node-lost"),
        ({"kind": "gpu.node-watch", "state": "stopped"}, "gpu.node-watch"),
    ],
)
def test_the_first_row_that_fits_counts(event: dict[str, str], name: str) -> None:
    found = raised(event)
    assert found is not None and found.name == name


def test_a_strangers_scan_of_the_port_is_no_alert() -> None:
    assert raised({"kind": "connection.refused", "rule": "tls.handshake"}) is None
    assert raised({"kind": "connection.refused", "rule": "port.rate", "count": 400}) is None


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "project.refused", "rule": "project.review-date"},  # a wrong date is no attack
        {"kind": "project.refused", "rule": "project.changed"},
        {"kind": "admin.refused", "rule": "project.unapproved"},
        {"kind": "node.request-refused", "rule": "app.network"},
        {"kind": "node.upload-failed", "rule": "upload.exists"},
        {"kind": "node.upload-completed"},
        {"kind": "gpu.node-watch", "state": "started"},
    ],
)
def test_a_persons_day_is_no_alert(event: dict[str, str]) -> None:
    assert raised(event) is None


def test_each_visitor_of_each_session_is_one_alert() -> None:
    visited = WATCHED["session.visited"]
    keys = {
        visited.key({"session": session, "subject": {"user": "alice", "impersonator": who}})
        for session in ("a", "b")
        for who in ("bob", "eve", "")
        for _ in range(2)
    }
    assert len(keys) == 6


def test_an_end_belongs_to_the_same_rule() -> None:
    over = ended({"kind": "gpu.alert", "rule": "R3", "state": "cleared"})
    assert over is not None and over.name == "gpu.R3"
    heard = ended({"kind": "session.heard"})
    assert heard is not None and heard.name == "session.silent"
    assert ended({"kind": "gpu.alert", "rule": "R3", "state": "raised"}) is None


def test_keys_tell_sessions_and_kernels_apart() -> None:
    idle = WATCHED["gpu.R3"]
    one, other = ({"session": "a", "kernel": kernel} for kernel in ("k1", "k2"))
    assert idle.key(one) != idle.key(other)
    assert WATCHED["gpu.R5"].key(one) == WATCHED["gpu.R5"].key(other)
    assert idle.key({"session": "ab", "kernel": ""}) != idle.key({"session": "a", "kernel": "b"})


def test_only_what_needs_nobody_ends_by_itself() -> None:
    """What a node says can't close an alert that somebody has to see."""
    assert {name for name, each in WATCHED.items() if each.ends_itself} == {"gpu.R3"}
    assert all(WATCHED[name].severity == "low" for name in ("gpu.R3",))
    assert "suspicion" in alerts.SUSPICION


def test_the_documentation_lists_every_row() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security" / "alerts.md").read_text(encoding="utf-8")
    for watched in WATCHED.values():
        assert f"| `{watched.name}` | {watched.severity} | {watched.title}" in page, json.dumps(watched.name)
