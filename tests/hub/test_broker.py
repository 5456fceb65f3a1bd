"""The broker: whichever step refuses, the token stays unused; of what it issues nothing outlives the session."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.hub import broker as module
from jupyter_hpcsec.hub.broker import IdentityBroker
from jupyter_hpcsec.identity import authority
from jupyter_hpcsec.identity.attestation import AttestationClaim
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.admin import Registration
from jupyter_hpcsec.tunnel.broker import NoAccess
from jupyter_hpcsec.tunnel.session import Session, State
from tests.hub.attackers import certificate
from tests.hub.deployment import ACCOUNT, Deployment


class Attestor:
    """Says what a test wants; remembers what it was asked."""

    name = "test"

    def __init__(self) -> None:
        self.error: HpcsecError | None = None
        self.end: int | None = None
        self.asked: list[AttestationClaim] = []

    async def attest(self, claim: AttestationClaim) -> int | None:
        self.asked.append(claim)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return self.end

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> int | None:
        return self.end


@pytest.fixture
def attestor() -> Attestor:
    return Attestor()


@pytest.fixture
async def deployment(tmp_path: Path, attestor: Attestor) -> AsyncIterator[Deployment]:
    made = Deployment(tmp_path)
    made.attestors = (attestor,)
    await made.start()
    yield made
    await made.stop()


def request(registration: Registration, **changes: object) -> m.Enrol:
    values = {"token": registration.token, "request": authority.make_request(authority.new_key()), "job_id": "41"}
    return m.Enrol(**{**values, "node": "node1", "account": ACCOUNT, **changes})  # type: ignore[arg-type]


async def refused(deployment: Deployment, message: m.Enrol) -> str:
    with pytest.raises(HpcsecError) as error:
        await deployment.broker.enrol(message, "10.0.0.1", int(time.time()))
    return error.value.rule if isinstance(error.value, Refused) else type(error.value).__name__


def row(deployment: Deployment, registration: Registration) -> Session:
    found = deployment.store.get(registration.session)
    assert found
    return found


async def test_each_refusal_leaves_the_token_good(deployment: Deployment, attestor: Attestor) -> None:
    registration = await deployment.register()
    before = row(deployment, registration)
    assert (await refused(deployment, request(registration, token="x"))).startswith("token.")
    assert await refused(deployment, request(registration, job_id="42")) == "enrol.other-job"
    assert await refused(deployment, request(registration, node="../x")) == "enrol.form"
    assert await refused(deployment, request(registration, request=b"x"))
    for error in (Refused("attest.uid", "someone else's"), Unavailable("no answer"), Malformed("what?")):
        attestor.error = error
        assert await refused(deployment, request(registration))
    attestor.error = None
    assert row(deployment, registration) == before
    enrolled = await deployment.broker.enrol(request(registration), "10.0.0.1", int(time.time()))
    assert enrolled.session == registration.session
    claim = attestor.asked[-1]
    assert (claim.peer_address, claim.job_id, claim.uid) == ("10.0.0.1", "41", 1001)
    assert await refused(deployment, request(registration)) == "enrol.token-used"


@pytest.mark.parametrize(
    ("account", "said"),
    [(None, "update the nodes"), (m.Account(gid=1001, home="/data/secret", groups=[]), "Your home directory is")],
)
async def test_a_node_that_says_something_else_of_the_account_ends_the_session(
    deployment: Deployment, account: m.Account | None, said: str
) -> None:
    """A home of the node's own choice would be a rule of its own choice."""
    registration = await deployment.register()
    with pytest.raises(NoAccess, match=said) as refusal:
        await deployment.broker.enrol(request(registration, account=account), "x", int(time.time()))
    assert (refusal.value.rule, refusal.value.session) == ("enrol.account", registration.session)
    assert row(deployment, registration).serial == ""


async def test_nobody_is_asked_of_rules_before_the_attestors_agree(deployment: Deployment, attestor: Attestor) -> None:
    registration = await deployment.register()
    attestor.error = Refused("attest.uid", "someone else's")
    assert await refused(deployment, request(registration, account=None)) == "attest.uid"
    assert row(deployment, registration).state is State.WAITING


async def test_the_groups_of_both_sides_count_and_the_rules_go_with_the_launch(deployment: Deployment) -> None:
    registration = await deployment.register(groups=["hub-group"], project="p1")
    account = m.Account(gid=7, home=ACCOUNT.home, groups=["node-group"])
    enrolled = await deployment.broker.enrol(request(registration, account=account), "x", int(time.time()))
    subject = enrolled.launch["access"]["subject"]
    assert tuple(subject["groups"]) == ("hub-group", "node-group")
    assert (subject["project"], subject["gid"], subject["uid"]) == ("p1", 7, 1001)
    assert enrolled.launch["recording"]["level"] == "sources" and "the code" in enrolled.launch["recording"]["text"]
    assert enrolled.launch["argv"] == ["x"] and row(deployment, registration).access


async def test_a_session_that_ends_while_the_attestors_think(deployment: Deployment, attestor: Attestor) -> None:
    registration = await deployment.register()
    enrolling = asyncio.create_task(deployment.broker.enrol(request(registration), "x", int(time.time())))
    while not attestor.asked:
        await asyncio.sleep(0)
    deployment.registry.finish(registration.session, "cancelled")
    with pytest.raises(Refused) as refusal:
        await enrolling
    assert refusal.value.rule == "enrol.session-not-waiting"
    assert row(deployment, registration).serial == ""


async def test_a_job_that_is_faster_than_its_spawner_waits_for_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BINDING_S", 0.1)
    registration = await deployment.register(job_id="")
    assert await refused(deployment, request(registration)) == "enrol.job-unbound"
    monkeypatch.setattr(module, "BINDING_S", 10)
    enrolling = asyncio.create_task(deployment.broker.enrol(request(registration), "x", int(time.time())))
    await asyncio.sleep(0.1)
    assert not enrolling.done()
    await deployment.desk.bind_job(registration.session, "41")
    assert (await enrolling).session == registration.session


async def test_nothing_outlives_the_job(deployment: Deployment, attestor: Attestor) -> None:
    registration = await deployment.register()
    now = int(time.time())
    attestor.end = now + 120
    enrolled = await deployment.broker.enrol(request(registration), "x", now)
    assert enrolled.not_after <= now + 120
    assert enrolled.ends_at == row(deployment, registration).ends_at == now + 120
    assert abs(enrolled.now - now) <= 1
    peer = deployment.broker.identify(enrolled.certificate, now)
    renewed = deployment.broker.renew(
        peer, row(deployment, registration), authority.make_request(authority.new_key()), now + 60
    )
    assert renewed.not_after <= now + 120
    assert row(deployment, registration).serial == deployment.broker.identify(renewed.certificate, now).serial
    with pytest.raises(Refused):  # a connection can outlive its certificate; a renewal must not
        deployment.broker.renew(peer, row(deployment, registration), b"", now + 121)


async def test_whose_certificate(deployment: Deployment) -> None:
    registration = await deployment.register()
    now = int(time.time())
    signer = deployment.keyring.authority()
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der = x509.load_pem_x509_certificate(certificate(signer, registration.session)[0]).public_bytes(Encoding.DER)
    assert deployment.broker.identify(der, now).session == registration.session
    with pytest.raises(Refused) as refusal:
        deployment.broker.identify(der, now + 86400)
    assert refusal.value.rule == "certificate.expired"
    for garbage in (b"", b"x", signer.certificate_der):
        with pytest.raises(HpcsecError):
            deployment.broker.identify(garbage, now)


@pytest.mark.parametrize("kind", ["", "tokens", "../token", "none"])
async def test_keys_of_no_kind(deployment: Deployment, kind: str) -> None:
    before = deployment.broker.keys(int(time.time()))
    with pytest.raises(Malformed, match=r"not a kind of key"):
        deployment.broker.rotate(kind, int(time.time()))
    assert deployment.broker.keys(int(time.time())) == before


async def test_a_rotation_makes_a_new_context_and_serves_both(deployment: Deployment) -> None:
    first, now = deployment.broker.context(), int(time.time())
    assert deployment.broker.context() is first
    deployment.broker.rotate("authority", now)
    assert deployment.broker.context() is not first
    assert len(deployment.broker._contexts) == 2
    deployment.broker.reload()
    assert len(deployment.broker.status(now)["keys"]) >= 3
    assert "PRIVATE" not in str(deployment.broker.status(now))


@pytest.mark.parametrize("step", [-86400 * 365, module.CONTEXT_LIFE_S + 1])
async def test_the_gateways_own_certificate_follows_a_clock_that_was_set(deployment: Deployment, step: float) -> None:
    """Made under a clock that was a year ahead, it would not be valid yet when the clock is right again."""
    clock = [time.time() + max(0.0, -step)]
    broker = IdentityBroker(
        keyring=deployment.keyring,
        enroller=deployment.broker._enroller,
        store=deployment.store,
        policies=deployment.policies,
        recordings=deployment.recordings,
        issuer="x",
        token_lifetime_s=60,
        certificate_lifetime_s=60,
        clock=lambda: clock[0],
    )
    first = broker.context()
    assert broker.context() is first
    clock[0] += step
    assert broker.context() is not first


async def test_tokens_end_with_the_wait_or_the_session(deployment: Deployment) -> None:
    registration = await deployment.register()
    session = row(deployment, registration)
    claims = deployment.broker._enroller.claims(registration.token, int(time.time()))
    assert claims.session == registration.session and claims.expires <= session.ends_at
    assert session.state is State.WAITING
    assert deployment.broker.token(session, int(time.time())) != registration.token
