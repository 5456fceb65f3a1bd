"""The node's side: what it needs to know and is not told is refused with the fix; leaks and open ports are seen."""

import base64
import hashlib
import json
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.server_plan import SESSION_VARIABLE
from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Finding, Status, holds
from jupyter_hpcsec.ops.doctor.handshake import Endpoint, Handshake
from jupyter_hpcsec.ops.doctor.node import (
    NodeSide,
    discover,
    examine,
    judge_job,
    judge_listeners,
    judge_sandbox,
    may_connect,
)
from jupyter_hpcsec.ops.doctor.tls import Pin
from jupyter_hpcsec.ops.doctor.world import FileFact, HttpAnswer, Ran
from jupyter_hpcsec.tunnel.messages import CONTROL, ENROL, LANE

CA = b"the authority's certificate"
PIN = hashlib.sha256(CA).hexdigest()
SESSION = {SESSION_VARIABLE: "/run/user/1000/s/session.json"}
NOTHING_LISTENS = {"bind": "none", "enforcement": "required", "files": "12 roots", "connect": "TCP ports 8443"}
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def of(findings: list[Finding], hop: str) -> set[Status]:
    return {finding.status for finding in findings if finding.hop == hop}


def facts(**change: object) -> str:
    return json.dumps({"endpoints": ["hub:8443"], "ca_pin": PIN, "job": "12", "protections": NOTHING_LISTENS, **change})


def test_outside_a_job_the_fix_is_named() -> None:
    with pytest.raises(Malformed, match="--gateway"):
        discover({}, None)
    with pytest.raises(Malformed, match="--gateway"):
        discover({"HPCSEC_GATEWAY": "hub:8443"}, None)


@pytest.mark.parametrize("text", ["no json", "[]", facts(endpoints=["nowhere"]), facts(ca_pin="12"), facts(ca="%")])
def test_a_session_file_that_can_not_be_read(text: str) -> None:
    with pytest.raises(Malformed):
        discover(SESSION, text)


def test_an_authority_that_is_not_the_pinned_one() -> None:
    with pytest.raises(Malformed, match="not the pin"):
        discover(SESSION, facts(ca=base64.b64encode(b"another").decode()))


def test_what_is_given_wins_over_the_session_and_the_session_over_the_environment() -> None:
    environ = {**SESSION, "HPCSEC_GATEWAY": "env:1,[::1]:2", "HPCSEC_CA": base64.b64encode(CA).decode()}
    assert discover(environ, facts(), gateway="given:3", ca_pin=PIN).endpoints == (Endpoint("given", 3),)
    assert discover(environ, facts()).endpoints == (Endpoint("hub", 8443),)
    side = discover({k: v for k, v in environ.items() if k not in SESSION}, None)
    assert side.endpoints == (Endpoint("env", 1), Endpoint("::1", 2))
    assert side.pin == Pin(PIN, CA)
    assert side.runtime is None


def test_a_session_of_its_own() -> None:
    side = discover(SESSION, facts(ca=base64.b64encode(CA).decode()))
    assert side == NodeSide((Endpoint("hub", 8443),), Pin(PIN, CA), Path("/run/user/1000/s"), "12", NOTHING_LISTENS)


def test_the_token_may_not_stay_in_the_session() -> None:
    assert of(judge_job("1", {"HPCSEC_TOKEN": "x"}, in_session=True), "job") == {Status.OK, Status.BAD}
    assert of(judge_job("1", {"HPCSEC_TOKEN": "x"}, in_session=False), "job") == {Status.OK}
    assert of(judge_job("", {}, in_session=False), "job") == {Status.WARN}


@pytest.mark.parametrize("weaker", [{"bind": "unsafe-allow"}, {"bind": "unsafe-udp"}, {"enforcement": "advisory"}])
def test_a_weaker_sandbox_is_said(weaker: dict[str, str]) -> None:
    assert [f.status for f in judge_sandbox({**NOTHING_LISTENS, **weaker})].count(Status.WARN) == 1
    assert judge_sandbox({})[0].status is Status.UNKNOWN
    for bind in ("none", "private"):
        assert {f.status for f in judge_sandbox({**NOTHING_LISTENS, "bind": bind})} == {Status.OK}


@pytest.mark.parametrize(
    ("connect", "may"),
    [("TCP ports none", False), ("TCP ports 53, 443", False), ("nothing outside a network of its own", False),
     ("TCP ports 53, 18443", False), ("TCP ports 53, 8443", True), ("not restricted", True), (None, True)],
)  # fmt: skip
def test_a_session_that_may_not_dial_the_gateway_does_not_call_it_broken(
    world: FakeWorld, connect: str | None, may: bool
) -> None:
    side = node(world)
    side = replace(side, protections={**NOTHING_LISTENS, "connect": connect})
    assert may_connect(side.protections, 8443) is may
    assert of(examine(world, side), "port") == ({Status.OK} if may else {Status.UNKNOWN})


def test_open_ports_are_shown() -> None:
    assert judge_listeners(["tcp/8888"])[0].status is Status.WARN
    assert judge_listeners([])[0].status is Status.OK


def node(world: FakeWorld) -> NodeSide:
    world.env = dict(SESSION)
    world.files = {
        "/run/user/1000/s": FileFact(0o700, 1000, "directory"),
        "/run/user/1000/s/hub.sock": FileFact(0o600, 1000, "socket"),
        "/run/user/1000/s/server.sock": FileFact(0o600, 1000, "socket"),
    }
    world.texts = {
        "/proc/net/tcp": HEADER + "   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 1 1\n",
        "/proc/mounts": "proc /proc proc rw,hidepid=2 0 0\n",
        "/proc/sys/kernel/seccomp/actions_avail": "errno user_notif allow",
    }
    world.commands = {"unshare --user true": Ran(0, "", "")}
    refused = Handshake(version="TLSv1.3", afterwards="alert: certificate required")
    shown = Handshake(version="TLSv1.3", alpn=ENROL, chain=(b"leaf", CA), afterwards="waits")
    world.shakes = {ENROL: shown, CONTROL: refused, LANE: refused}
    world.answers = {"/run/user/1000/s/hub.sock": HttpAnswer(200, {"date": formatdate(world.time, usegmt=True)})}
    return discover(SESSION, facts())


def test_the_agent_is_away(world: FakeWorld) -> None:
    side = node(world)
    world.answers = {}
    findings = examine(world, side)
    assert of(findings, "hub api") == {Status.BAD}
    assert not holds(findings)


def test_a_wide_open_runtime_directory(world: FakeWorld) -> None:
    side = node(world)
    world.files["/run/user/1000/s"] = FileFact(0o755, 1000, "directory")
    assert Status.BAD in of(examine(world, side), "permissions")


def test_a_listener_of_this_user(world: FakeWorld) -> None:
    side = node(world)
    world.texts["/proc/net/tcp"] += "   1: 00000000:22B8 00000000:0000 0A 0:0 00:0 0 1000 0 2 1\n"
    found = [finding for finding in examine(world, side) if finding.hop == "listeners"]
    assert [finding.status for finding in found] == [Status.WARN]
    assert "tcp/8888" in found[0].what
    assert "8080" not in found[0].what


def test_before_the_session_runs_what_needs_it_is_unknown(world: FakeWorld) -> None:
    node(world)
    side = discover({"HPCSEC_GATEWAY": "hub:8443", "HPCSEC_CA": base64.b64encode(CA).decode()}, None)
    findings = examine(world, side)
    assert of(findings, "clock skew") == {Status.UNKNOWN}
    assert of(findings, "ca pin") == {Status.OK}


def test_all_well(world: FakeWorld) -> None:
    findings = examine(world, node(world))
    assert {finding.status for finding in findings} == {Status.OK}, [f for f in findings if f.fix]
