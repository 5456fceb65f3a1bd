"""The TLS port: each thing that can stand there instead of the gateway is red, then the gateway itself is green."""

import pytest

from jupyter_hpcsec.ops.doctor.fake import FakeWorld
from jupyter_hpcsec.ops.doctor.finding import Status
from jupyter_hpcsec.ops.doctor.handshake import Endpoint, Handshake
from jupyter_hpcsec.ops.doctor.tls import (
    Pin,
    examine,
    judge_authority,
    judge_closed_to_strangers,
    judge_endpoints,
    judge_old_version,
    judge_protocol,
    judge_reach,
)
from jupyter_hpcsec.tunnel.messages import CONTROL, ENROL, LANE, Denied, Welcome, encode

AT = Endpoint("hub.example", 8443)
PIN = Pin.of(b"the authority's certificate")
GOOD = Handshake(version="TLSv1.3", alpn=ENROL, chain=(b"leaf", b"the authority's certificate"), afterwards="waits")
REFUSED = Handshake(version="TLSv1.3", alpn=LANE, afterwards="alert: tlsv13 alert certificate required")


@pytest.mark.parametrize(
    ("error", "fix"), [("timeout", "firewall"), ("refused", "start the gateway"), ("no route", "route")]
)
def test_not_reachable(error: str, fix: str) -> None:
    finding = judge_reach(AT, Handshake(connect_error=error))
    assert finding.status is Status.BAD
    assert fix in finding.fix


def test_man_in_the_middle_is_shown() -> None:
    seen = Handshake(verify_error="self-signed certificate in certificate chain", chain=(b"other", b"other root"))
    finding = judge_authority(AT, seen, PIN)
    assert finding.status is Status.BAD
    assert "not the gateway that was pinned" in finding.what
    assert "do not enrol" in finding.fix


@pytest.mark.parametrize("words", ["certificate is not yet valid", "certificate has expired"])
def test_a_certificate_out_of_its_time_points_at_the_clocks(words: str) -> None:
    finding = judge_authority(AT, Handshake(verify_error=words), PIN)
    assert finding.status is Status.BAD
    assert "clocks" in finding.fix


def test_no_handshake_is_red() -> None:
    assert judge_authority(AT, Handshake(tls_error="wrong version number"), PIN).status is Status.BAD


def test_a_pin_that_was_not_shown_is_unknown_and_not_green() -> None:
    assert judge_authority(AT, GOOD, Pin("0" * 64)).status is Status.UNKNOWN


def test_another_protocol_or_version() -> None:
    assert judge_protocol(AT, ENROL, Handshake(version="TLSv1.2", alpn=ENROL)).status is Status.BAD
    assert judge_protocol(AT, ENROL, Handshake(version="TLSv1.3", alpn="http/1.1")).status is Status.BAD
    assert judge_protocol(AT, ENROL, Handshake(version="TLSv1.3")).status is Status.BAD


@pytest.mark.parametrize(
    ("afterwards", "said"),
    [("waits", b""), ("spoke", b"HTTP/1.1 200 OK"), ("spoke", encode(Welcome(heartbeat_s=15, now=0)))],
)
def test_a_lane_without_a_certificate_must_not_be_taken(afterwards: str, said: bytes) -> None:
    seen = Handshake(version="TLSv1.3", alpn=LANE, afterwards=afterwards, said=said)
    assert judge_closed_to_strangers(AT, LANE, seen).status is Status.BAD


def test_a_denial_in_words_is_a_refusal() -> None:
    said = encode(Denied(rule="lane.no-certificate", reason="no"))
    seen = Handshake(version="TLSv1.3", alpn=CONTROL, afterwards="spoke", said=said)
    assert judge_closed_to_strangers(AT, CONTROL, seen).status is Status.OK
    assert judge_closed_to_strangers(AT, LANE, Handshake(version="TLSv1.3", afterwards="closed")).status is Status.OK


def test_a_lane_that_could_not_be_tried_is_unknown() -> None:
    assert judge_closed_to_strangers(AT, LANE, Handshake(connect_error="timeout")).status is Status.UNKNOWN


def test_tls_1_2_must_fail() -> None:
    assert judge_old_version(AT, Handshake(version="TLSv1.2")).status is Status.BAD
    assert judge_old_version(AT, Handshake(connect_error="timeout")).status is Status.UNKNOWN
    assert judge_old_version(AT, Handshake(tls_error="tlsv1 alert protocol version")).status is Status.OK


def test_endpoints_must_be_reachable_from_elsewhere() -> None:
    assert judge_endpoints([]).status is Status.BAD
    assert judge_endpoints([Endpoint("127.0.0.1", 8443)]).status is Status.WARN
    assert judge_endpoints([AT]).status is Status.OK


def test_a_port_that_is_closed_is_not_asked_further(world: FakeWorld) -> None:
    world.shakes = {ENROL: Handshake(connect_error="refused")}
    assert [finding.status for finding in examine(world, [AT], PIN)] == [Status.BAD]


def test_the_authority_of_a_bare_pin_is_taken_from_the_chain(world: FakeWorld) -> None:
    world.shakes = {ENROL: GOOD, CONTROL: REFUSED, LANE: REFUSED}
    findings = examine(world, [AT], Pin(PIN.sha256))
    assert {finding.status for finding in findings} == {Status.OK}


def test_all_well(world: FakeWorld) -> None:
    world.shakes = {ENROL: GOOD, CONTROL: REFUSED, LANE: REFUSED}
    assert [finding.status for finding in examine(world, [AT], PIN)] == [Status.OK] * 6
