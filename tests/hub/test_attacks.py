"""Attacks on the TLS port with certificates and handshakes; each is shown to work first for whom it is meant."""

import asyncio
import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.connection import TlsConnection
from jupyter_hpcsec.tunnel.session import State
from jupyter_hpcsec.tunnel.tls import MessageStream, client_context, dial
from tests.hub.attackers import (
    Enrolled,
    Shown,
    another_deployment,
    certificate,
    check_refused,
    control,
    enrol,
    lane,
    next_message,
    pem,
    reach,
    rest_of,
    until,
)
from tests.hub.deployment import ACCOUNT, Deployment, server_name_of
from tests.tunnel.tlspair import self_signed


async def lanes_of(deployment: Deployment, enrolled: Enrolled) -> int:
    return int((await deployment.desk.show(enrolled.registration.session))["lanes"])


async def has_a_lane(deployment: Deployment, enrolled: Enrolled) -> None:
    async with asyncio.timeout(60):
        while not await lanes_of(deployment, enrolled):
            await asyncio.sleep(0.01)


def wrong(kind: str, deployment: Deployment, session: str, directory: Path) -> Shown | None:
    own, now = deployment.keyring.authority(), int(time.time())
    made: dict[str, Callable[[], Shown | None]] = {
        "none": lambda: None,
        "expired": lambda: certificate(own, session, begins=now - 7200),
        "not-yet-valid": lambda: certificate(own, session, begins=now + 3600),
        "other-deployment": lambda: certificate(another_deployment(directory / "other"), session),
        "self-signed": lambda: self_signed()[1:],
        "server-auth": lambda: own.issue_server(now),
        "never-recorded": lambda: certificate(own, session),  # rightly signed; the books do not know its serial
    }
    return made[kind]()


WRONG = {
    "none": "lane.no-certificate",
    "expired": "tls.certificate",
    "not-yet-valid": "tls.certificate",
    "other-deployment": "tls.certificate",
    "self-signed": "tls.certificate",
    "server-auth": "tls.certificate",
    "never-recorded": "lane.revoked",
}


async def test_the_rightful_agent_gets_a_lane_and_a_control_connection(deployment: Deployment, alice: Enrolled) -> None:
    tls = await lane(deployment, alice.shown)
    await has_a_lane(deployment, alice)
    stream = await control(deployment, alice.shown)
    assert isinstance(await next_message(stream), m.Welcome)
    assert (await deployment.desk.show(alice.registration.session))["connected"]
    stream.close()
    tls.close()


@pytest.mark.parametrize("kind", WRONG)
async def test_a_lane_with_a_wrong_certificate(
    deployment: Deployment, alice: Enrolled, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = await lane(deployment, wrong(kind, deployment, alice.registration.session, tmp_path))
    assert await rest_of(tls) == b""
    await check_refused(deployment, caplog, WRONG[kind])
    assert await lanes_of(deployment, alice) == 0


@pytest.mark.parametrize("kind", WRONG)
async def test_a_control_connection_with_a_wrong_certificate(
    deployment: Deployment, alice: Enrolled, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = deployment.store.get(alice.registration.session)
    shown = wrong(kind, deployment, alice.registration.session, tmp_path)
    tls = await reach(deployment, m.CONTROL, shown)
    tls.write(m.encode(m.Hello(version="1", state="ended", message="gone", lanes=0)))
    await rest_of(tls)
    await check_refused(deployment, caplog, WRONG[kind])
    assert deployment.store.get(alice.registration.session) == before


async def test_a_certificate_that_the_process_took_before_it_was_revoked(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    held = await lane(deployment, alice.shown)
    await has_a_lane(deployment, alice)
    await deployment.desk.end(alice.registration.session, "stolen")
    assert await rest_of(held, 5) == b""
    assert await rest_of(await lane(deployment, alice.shown)) == b""
    await check_refused(deployment, caplog, "lane.revoked")
    stream = await control(deployment, alice.shown)
    denied = await next_message(stream)
    assert isinstance(denied, m.Denied) and denied.rule == "lane.revoked"
    stream.close()
    await check_refused(deployment, caplog, "lane.revoked", times=2)
    session = deployment.store.get(alice.registration.session)
    assert session and session.state is State.ENDED and session.reason == "stolen"


async def test_a_certificate_of_another_session_lands_in_that_session_only(
    deployment: Deployment, alice: Enrolled
) -> None:
    bob = await enrol(deployment, user="bob")
    tls = await lane(deployment, bob.shown)
    await has_a_lane(deployment, bob)
    assert await lanes_of(deployment, alice) == 0
    stream = await control(deployment, bob.shown, state="ended")
    await until(lambda: deployment.registry.get(bob.registration.session) is None)
    assert deployment.registry.get(alice.registration.session) is not None
    stream.close()
    tls.close()


async def test_a_certificate_of_this_authority_for_another_trust_domain(
    deployment: Deployment, alice: Enrolled, tmp_path: Path
) -> None:
    with pytest.raises(Refused):
        certificate(deployment.keyring.authority(), alice.registration.session, domain="evil.example")


async def test_a_waiting_session_takes_no_lane(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    registration = await deployment.register()
    shown = certificate(deployment.keyring.authority(), registration.session)
    assert await rest_of(await lane(deployment, shown)) == b""
    await check_refused(deployment, caplog, "lane.revoked")


async def test_a_second_agent_for_the_same_session(
    deployment: Deployment, alice: Enrolled, caplog: pytest.LogCaptureFixture
) -> None:
    first = deployment.store.get(alice.registration.session)
    second = deployment.make_agent(alice.registration)
    with pytest.raises(Refused) as refusal:
        await second.enrol(token=alice.registration.token, job_id="41", node="node2", evidence={}, account=ACCOUNT)
    assert refusal.value.rule == "enrol.token-used"
    await check_refused(deployment, caplog, "enrol.token-used")
    assert deployment.store.get(alice.registration.session) == first
    assert await rest_of(await lane(deployment, None)) == b""


# Handshakes


def plain_client(deployment: Deployment, **changes: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(deployment.broker.authority()).decode())
    context.set_alpn_protocols([m.ENROL])
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def shake(deployment: Deployment, context: ssl.SSLContext, name: str | None) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", deployment.port), timeout=60)
    try:
        tls = context.wrap_socket(raw, server_hostname=name)
        tls.settimeout(60)
    except BaseException:
        raw.close()
        raise
    return tls


def ended_by_gateway(tls: ssl.SSLSocket) -> bool:
    with tls:
        try:
            return tls.recv(100) == b""
        except (ssl.SSLError, ConnectionResetError):
            return True


async def test_tls_1_2_is_refused_and_1_3_is_not(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    name = server_name_of(deployment.broker.authority())
    tls = await asyncio.to_thread(shake, deployment, plain_client(deployment), name)
    assert tls.version() == "TLSv1.3"
    assert tls.selected_alpn_protocol() == m.ENROL
    tls.close()
    await until(lambda: deployment.counters.snapshot().get("enrol.unavailable"))
    old = plain_client(deployment, maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.to_thread(shake, deployment, old, name)
    await check_refused(deployment, caplog, "tls.handshake")


@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["hpcsec-lane/2", "h2"]])
async def test_no_protocol_of_the_tunnel(
    deployment: Deployment, protocols: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(deployment.broker.authority()).decode())
    if protocols:
        context.set_alpn_protocols(protocols)
    tls = await asyncio.to_thread(shake, deployment, context, server_name_of(deployment.broker.authority()))
    assert await asyncio.to_thread(ended_by_gateway, tls)
    await check_refused(deployment, caplog, "tls.protocol")


@pytest.mark.parametrize(
    "name", [None, "gateway.example", "ca-00000000000000000000000000000000.gateway.hpcsec.internal"]
)
async def test_an_unknown_server_name(
    deployment: Deployment, name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    context = plain_client(deployment, check_hostname=False)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.to_thread(shake, deployment, context, name)
    await check_refused(deployment, caplog, "tls.handshake")


async def test_a_gateway_of_another_authority_is_refused_by_the_agent(deployment: Deployment, tmp_path: Path) -> None:
    """The man in the middle: his authority is not the one that came with the job."""
    registration = await deployment.register()
    ca = another_deployment(tmp_path / "other").certificate_der
    with pytest.raises(Refused) as refusal:
        await dial(
            ("127.0.0.1", deployment.port),
            client_context(m.ENROL, ca),
            server_name_of(registration.ca),
            timeout_s=5,
            dead_after_s=30,
        )
    assert refusal.value.rule == "tls.certificate"
    assert hashlib.sha256(ca).digest() != hashlib.sha256(registration.ca).digest()


async def test_no_tls_session_is_given_out_or_resumed(deployment: Deployment) -> None:
    """Resumption would skip the check of the certificate."""
    context, name = plain_client(deployment), server_name_of(deployment.broker.authority())

    def twice() -> tuple[bool, bool]:
        with shake(deployment, context, name) as first:
            first.sendall(m.encode(m.Heartbeat(now=1)))
            while first.recv(1000):
                pass  # a ticket would have come with what is read here
            offered = first.session
        raw = socket.create_connection(("127.0.0.1", deployment.port), timeout=60)
        with context.wrap_socket(raw, server_hostname=name, session=offered) as second:
            return bool(offered and offered.has_ticket), bool(second.session_reused)

    assert await asyncio.to_thread(twice) == (False, False)


async def test_not_tls_at_all(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", deployment.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await reader.read()
    writer.close()
    await check_refused(deployment, caplog, "tls.handshake")


# Enrolment connections


async def enrolment(deployment: Deployment) -> MessageStream:
    return MessageStream(await reach(deployment, m.ENROL, None))


@pytest.mark.parametrize(
    "message",
    [
        m.Hello(version="1", state="ready", message="", lanes=0),
        m.Heartbeat(now=1),
        m.Renew(request=b"x"),
        m.Report(state="ready", message=""),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_an_enrolment_connection_carries_enrol_only(
    deployment: Deployment, message: m.FromAgent, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await enrolment(deployment)
    await stream.send(message)
    denied = await next_message(stream)
    assert isinstance(denied, m.Denied) and denied.rule == "enrol.malformed"
    stream.close()
    await check_refused(deployment, caplog, "enrol.malformed")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x00\x00\x00",
        b"\x00\x01\x00\x01",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x03\xff\xfe\xfd",
    ],
)
async def test_malformed_enrolments(deployment: Deployment, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    tls = await reach(deployment, m.ENROL, None)
    tls.write(sent)
    answer = await rest_of(tls)
    assert b'"denied"' in answer
    await check_refused(deployment, caplog, "enrol.malformed")


async def test_who_hangs_up_before_the_answer_is_refused_under_the_same_rule(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    tls = await reach(deployment, m.ENROL, None)
    tls._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    tls.write(m.encode(m.Enrol(token="x", request=b"", job_id="41", node="node1")))
    tls.close()  # a reset, which reaches the gateway before it answers
    await until(lambda: any(rule.startswith("token.") for rule in deployment.counters.snapshot()))
    assert "port.cut" not in deployment.counters.snapshot()


async def trickle(tls: TlsConnection, data: bytes) -> None:
    for byte in data:
        tls.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_an_enrolment_byte_by_byte_has_to_be_over_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = Deployment(tmp_path)
    deployment.limits.__dict__["handshake_s"] = 0.6
    await deployment.start()
    registration = await deployment.register()
    agent = deployment.make_agent(registration)
    tls = await reach(deployment, m.ENROL, None)
    with pytest.raises(OSError, match=r"."):
        await trickle(tls, m.encode(m.Enrol(token="x", request=b"", job_id="41", node="node1")) + bytes(1000))
    tls.close()
    await check_refused(deployment, caplog, "enrol.timeout")
    await agent.enrol(token=registration.token, job_id="41", node="node1", evidence={}, account=ACCOUNT)
    await deployment.stop()


async def test_half_a_message_and_gone(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    tls = await reach(deployment, m.ENROL, None)
    tls.write(b"\x00\x00\x01\x00{")
    tls.close()
    await check_refused(deployment, caplog, "enrol.unavailable")
