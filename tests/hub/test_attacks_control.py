"""Attacks by an enrolled node over its control connection: reports, renewals, floods, and who holds the connection."""

import asyncio
import contextlib
import json
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.session import State
from jupyter_hpcsec.tunnel.tls import MessageStream
from tests.hub.attackers import (
    Enrolled,
    check_refused,
    control,
    lines_of,
    next_message,
    reach,
    rest_of,
    until,
)
from tests.hub.deployment import ACCOUNT, Deployment, connect


async def the_next(stream: MessageStream, kind: type) -> None:
    while not isinstance(await next_message(stream), kind):
        pass


async def connected(deployment: Deployment, alice: Enrolled) -> MessageStream:
    stream = await control(deployment, alice.shown, state="starting")
    assert isinstance(await next_message(stream), m.Welcome)
    await until(lambda: state_of(deployment, alice) is State.STARTING)
    return stream


def state_of(deployment: Deployment, alice: Enrolled) -> State:
    session = deployment.store.get(alice.registration.session)
    assert session
    return session.state


async def refused_on_control(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture, sent: bytes, rule: str
) -> None:
    stream = await connected(deployment, alice)
    stream._tls.write(sent)
    await check_refused(deployment, caplog, rule)
    with pytest.raises(HpcsecError):
        await the_next(stream, m.End)
    stream.close()
    await until(lambda: state_of(deployment, alice) is State.AWAY)


def packed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def report(**fields: object) -> bytes:
    return packed(json.dumps({"type": "report", "state": "ready", "message": "", **fields}).encode())


@pytest.mark.parametrize("state", ["waiting", "away", "", "READY", "ready ", "dead", "enrolled\n"])
async def test_states_that_a_node_may_not_report(
    deployment: Deployment, alice: Enrolled, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    await refused_on_control(deployment, alice, caplog, report(state=state), "control.malformed")


@pytest.mark.parametrize(
    "sent",
    [
        report(facts={str(number): 1 for number in range(1000)}),
        report(facts={"x": "y" * 2000}),
        report(facts={"x": {"deep": 1}}),
        report(message="m" * 1001),
        report(user="bob"),
        report(session="0" * 32),
        packed(b'{"type":"report","state":"ready"'),
        packed(b"[" * 60_000),
        packed(b'{"type":"welcome","heartbeat_s":1,"now":1}'),
        packed(b'{"type":"enrol","token":"x","request":"","job_id":"41","node":"n"}'),
        packed(b'{"type":"hello","version":"1","state":"ready","message":"","lanes":0}'),
        packed(b"\x00\xff"),
        (65 * 1024).to_bytes(4, "big"),
        bytes(4),
    ],
    ids=[str(number) for number in range(14)],
)
async def test_control_messages_that_no_agent_sends(
    deployment: Deployment, alice: Enrolled, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await refused_on_control(deployment, alice, caplog, sent, "control.malformed")


async def test_a_report_can_not_write_into_the_log(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "done\n2026-01-01 INFO session of root ended\x1b[2J\x07\u202e\u2028"
    stream = await connected(deployment, alice)
    await stream.send(m.Report(state="ready", message=evil, facts={"x\n": evil, "n": 1}))
    await until(lambda: state_of(deployment, alice) is State.READY)
    await stream.send(m.Report(state="ended", message=evil))
    await until(lambda: state_of(deployment, alice) is State.ENDED)
    stream.close()
    assert [r for r in caplog.records if "root ended" in r.getMessage()]
    assert all(record.getMessage().isprintable() for record in caplog.records)
    session = deployment.store.get(alice.registration.session)
    assert session and session.reason.isprintable()


@pytest.mark.parametrize("protocol", [m.ENROL, m.CONTROL])
async def test_what_is_malformed_can_not_write_into_the_log(
    deployment: Deployment, alice: Enrolled, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    tls = await reach(deployment, protocol, alice.shown)
    tls.write(packed(json.dumps({"type": "x\n\x1b[31mINFO all is well", "\r\n": 1}).encode()))
    await rest_of(tls)
    await check_refused(deployment, caplog, f"{'enrol' if protocol == m.ENROL else 'control'}.malformed")
    assert all(record.getMessage().isprintable() for record in caplog.records)


def request_with_extras() -> bytes:
    key = authority.new_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://test.hpcsec.internal/user/root")])
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def request_with_subject() -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(authority.new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def request_with_wrong_key() -> bytes:
    """Another key's signature: whoever sends it does not hold the key that it names."""
    own, other = (authority.make_request(authority.new_key()) for _ in range(2))
    return own[:-64] + other[-64:]


REQUESTS = {
    "extras": request_with_extras,
    "subject": request_with_subject,
    "wrong-key": request_with_wrong_key,
    "garbage": lambda: os.urandom(200),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_certificate_requests_over_the_wire(
    deployment: Deployment, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    registration = await deployment.register()
    stream = MessageStream(await reach(deployment, m.ENROL, None))
    await stream.send(m.Enrol(token=registration.token, request=REQUESTS[name](), job_id="41", node="node1"))
    denied = await next_message(stream)
    assert isinstance(denied, m.Denied)
    stream.close()
    await check_refused(deployment, caplog, denied.rule)
    session = deployment.store.get(registration.session)
    assert session and session.state is State.WAITING
    agent = deployment.make_agent(registration)  # and the token is still good
    await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)


@pytest.mark.parametrize("name", REQUESTS)
async def test_renewals_with_wrong_requests(deployment: Deployment, alice: Enrolled, name: str) -> None:
    before = deployment.store.get(alice.registration.session)
    stream = await connected(deployment, alice)
    await stream.send(m.Renew(request=REQUESTS[name]()))
    with pytest.raises(HpcsecError):
        await the_next(stream, m.Renewed)
    stream.close()
    after = deployment.store.get(alice.registration.session)
    assert before and after and after.serial == before.serial


async def test_a_renewal_of_an_ended_session(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await connected(deployment, alice)
    await stream.send(m.Renew(request=authority.make_request(authority.new_key())))
    await the_next(stream, m.Renewed)
    await stream.send(m.Renew(request=authority.make_request(authority.new_key())))
    await deployment.desk.end(alice.registration.session, "over")
    with contextlib.suppress(HpcsecError):  # one that came before: the end waits until it is on record
        await the_next(stream, m.Renewed)
    with pytest.raises(HpcsecError):
        await the_next(stream, m.Renewed)
    stream.close()
    session = deployment.store.get(alice.registration.session)
    assert session and deployment.store.is_revoked(session.serial)


async def test_more_messages_than_an_agent_has_reason_to_send(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    await refused_on_control(deployment, alice, caplog, m.encode(m.Heartbeat(now=1)) * 200, "control.rate")


async def test_more_renewals_than_an_agent_has_reason_to_send(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    renewals = b"".join(m.encode(m.Renew(request=authority.make_request(authority.new_key()))) for _ in range(12))
    await refused_on_control(deployment, alice, caplog, renewals, "renew.rate")


async def test_lanes_are_not_asked_for_before_the_welcome(deployment: Deployment, alice: Enrolled) -> None:
    tls = await reach(deployment, m.CONTROL, alice.shown)
    stream = MessageStream(tls)
    live = deployment.registry.get(alice.registration.session)
    assert live
    await until(lambda: live.control)
    _, writer = await connect(alice.registration.socket)
    await until(lambda: live.port.facts()["waiting"])
    await stream.send(m.Hello(version="1", state="ready", message="", lanes=0))
    assert isinstance(await next_message(stream), m.Welcome)
    lanes = await next_message(stream)
    assert isinstance(lanes, m.Lanes) and lanes.total >= 1
    writer.close()
    stream.close()


async def test_a_control_connection_is_replaced_by_a_new_one(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    first = await connected(deployment, alice)
    second = await connected(deployment, alice)
    with pytest.raises(HpcsecError):
        await the_next(first, m.End)
    await asyncio.sleep(0.05)
    assert state_of(deployment, alice) is State.STARTING  # the end of the old one does not put the session away
    assert (await deployment.desk.show(alice.registration.session))["connected"]
    await second.send(m.Heartbeat(now=1))
    await the_next(second, m.Heartbeat)
    assert not lines_of(caplog, "control.malformed")
    first.close()
    second.close()
