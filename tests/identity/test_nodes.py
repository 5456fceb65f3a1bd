"""Who may speak for a node: root on it, and nobody else; neither a job nor root of another node."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.identity.authority import make_request, new_key, parse_client, spki_sha256
from jupyter_hpcsec.identity.jobs import Address, UnsafeAnyAddress
from jupyter_hpcsec.identity.munge import munge_decode, munge_encode, munge_payload
from jupyter_hpcsec.identity.nodes import NodeEnroller, NodeSubject, node_payload, parse_node
from jupyter_hpcsec.identity.subject import JobSubject
from tests.identity.nodecredential import credential, fake_unmunge
from tests.identity.ring import DOMAIN, NOW, open_ring
from tests.identity.test_munge import Realm, has_munge
from tests.nobody import prefix

GPU1, GPU2 = "10.77.0.11", "10.77.0.12"


class Addresses:
    known: dict[str, str] = {"gpu1": GPU1, "gpu2": GPU2}  # noqa: RUF012 - never changed

    async def addresses(self, node: str) -> frozenset[Address] | None:
        return frozenset(ip_address(self.known[name]) for name in self.known if name == node)


class Bench:
    def __init__(self, directory: Path) -> None:
        self.ring = open_ring(directory / "keys")
        self.enroller = NodeEnroller(
            self.ring, Addresses(), trust_domain=DOMAIN, command=(fake_unmunge(directory),), clock=lambda: NOW
        )
        self.key = new_key()
        self.request = make_request(self.key)
        self.spki = spki_sha256(self.key.public_key())

    def good(self, **changes: object) -> str:
        return credential(**{"payload": node_payload("gpu1", self.spki), "host": GPU1, "now": NOW, **changes})  # type: ignore[arg-type]

    async def enrol(self, shown: str, *, node: str = "gpu1", peer: str = GPU1) -> bytes:
        issued = await self.enroller.enrol(
            node=node, csr_der=self.request, credential=shown, peer_address=peer, now=NOW, life_s=3600
        )
        return issued.certificate_der

    async def refused(self, shown: str, **changes: str) -> str:
        with pytest.raises(Refused) as caught:
            await self.enrol(shown, **changes)
        return caught.value.rule


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("uid", [1, 1000, 1001, 65534])
async def test_whoever_is_not_root_can_t_enrol_as_a_node(bench: Bench, uid: int) -> None:
    assert await bench.refused(bench.good(uid=uid)) == "attest.munge-other-user"


async def test_root_of_one_node_can_t_enrol_as_another(bench: Bench) -> None:
    other = bench.good(payload=node_payload("gpu2", bench.spki), host=GPU1)
    assert await bench.refused(other, node="gpu2") == "attest.address"
    assert await bench.refused(other, node="gpu2", peer=GPU2) == "attest.munge-other-node"


async def test_a_credential_for_another_node_key_or_purpose_is_refused(bench: Bench) -> None:
    for payload in (
        node_payload("gpu2", bench.spki),
        node_payload("gpu1", b"\x02" * 32),
        munge_payload("a" * 32, bench.spki),
        b"",
        node_payload("gpu1", bench.spki) + b"\n",
    ):
        assert await bench.refused(bench.good(payload=payload)) == "attest.munge-binding"


async def test_an_old_one_none_and_one_that_is_none_are_refused(bench: Bench) -> None:
    assert await bench.refused(bench.good(age_s=3600)) == "attest.munge-expired"
    assert await bench.refused("") == "attest.munge-missing"
    assert await bench.refused("root, honestly") == "attest.munge-form"


@pytest.mark.parametrize("node", ["", "-a", "gpu1/x", "../gpu1", "gpu1 gpu2", "gpu[1-2]", "gpu1\n"])
async def test_what_is_no_node_s_name_is_refused(bench: Bench, node: str) -> None:
    assert await bench.refused(bench.good(), node=node) == "node.name"
    with pytest.raises(Malformed):
        NodeSubject(DOMAIN, node)


async def test_a_node_that_the_batch_system_does_not_know_is_refused(bench: Bench) -> None:
    assert await bench.refused(bench.good(payload=node_payload("gpu9", bench.spki)), node="gpu9") == "node.unknown"


def test_without_addresses_there_is_no_enroller(bench: Bench) -> None:
    with pytest.raises(TypeError):
        NodeEnroller(bench.ring, UnsafeAnyAddress(), trust_domain=DOMAIN)


async def test_root_on_the_node_gets_a_certificate_that_is_no_job_s(bench: Bench) -> None:
    certificate = await bench.enrol(bench.good())
    identity = bench.enroller.identify(certificate, NOW)
    assert (identity.subject.node, identity.subject.uri) == ("gpu1", f"spiffe://{DOMAIN}/node/gpu1")
    with pytest.raises(Refused):
        parse_client(certificate)
    with pytest.raises(Refused):
        bench.enroller.identify(certificate, identity.not_after)


async def test_a_job_s_certificate_is_no_node_s(bench: Bench) -> None:
    subject = JobSubject(DOMAIN, "node", "gpu1", "17", "a" * 32)
    certificate = bench.ring.authority().issue_client(bench.request, subject, now=NOW, not_after=NOW + 60)
    with pytest.raises(Refused) as caught:
        parse_node(certificate)
    assert caught.value.rule == "certificate.not-a-node"


def test_one_spelling_only() -> None:
    for uri in (
        f"spiffe://{DOMAIN}/user/gpu1",
        f"spiffe://{DOMAIN}/node/gpu1/",
        f"spiffe://{DOMAIN}/node/gpu%31",
        f"spiffe:/{DOMAIN}/node/gpu1",
        "x",
    ):
        with pytest.raises(Malformed):
            NodeSubject.parse(uri)
    assert NodeSubject.parse(f"spiffe://{DOMAIN}/node/gpu1").node == "gpu1"


@pytest.fixture
def realm() -> Iterator[Realm]:
    directory = Path(tempfile.mkdtemp(prefix="munge-"))
    directory.chmod(0o755)
    found = Realm(directory)
    yield found
    found.stop()
    shutil.rmtree(directory)


@has_munge
async def test_with_a_real_munge_nobody_is_refused_root_is_taken_and_once(tmp_path: Path, realm: Realm) -> None:
    bench = Bench(tmp_path)
    bench.enroller = NodeEnroller(bench.ring, Here(realm), trust_domain=DOMAIN, command=realm.unmunge)
    payload = node_payload("gpu1", bench.spki)
    host = str(await Here(realm).host())
    forged = munge_encode(payload, command=[*prefix(), *realm.munge])
    with pytest.raises(HpcsecError) as caught:
        await bench.enrol(forged, peer=host)
    assert "other-user" in str(caught.value)
    if os.geteuid() != 0:
        return
    credential_of_root = munge_encode(payload, command=realm.munge)
    assert await bench.enrol(credential_of_root, peer=host)
    assert await bench.refused(credential_of_root, peer=host) == "attest.munge-replayed"


class Here:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm

    async def host(self) -> Address:
        facts = await munge_decode(munge_encode(b"x", command=self._realm.munge), command=self._realm.unmunge)
        return ip_address(facts.host)

    async def addresses(self, node: str) -> frozenset[Address]:
        return frozenset({await self.host()})
