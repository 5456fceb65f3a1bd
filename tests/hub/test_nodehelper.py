"""Root's helper on a node tells the gateway: over real TLS. First the attacks."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_hpcsec.audit.events import Event, ToldByRoot, Trust
from jupyter_hpcsec.audit.kinds.gpunode import (
    GpuNodeAlert,
    GpuNodeJob,
    GpuNodeWatch,
    NodeHelperEnrolled,
    NodeHelperHeard,
    NodeHelperSilent,
)
from jupyter_hpcsec.audit.kinds.node import NodeGap, NodeRefused
from jupyter_hpcsec.audit.kinds.sessions import EnrolmentRefused
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.nodehelper import RootCredentials
from jupyter_hpcsec.hub.recall import recall
from jupyter_hpcsec.identity.jobs import Address
from jupyter_hpcsec.identity.nodes import node_payload
from jupyter_hpcsec.tunnel import messages as m
from jupyter_hpcsec.tunnel.ear import understood
from jupyter_hpcsec.tunnel.nodelink import AUTHORITIES, FIRST_WAIT_S, NodeLink
from jupyter_hpcsec.tunnel.nodespool import NodeSpool
from jupyter_hpcsec.tunnel.silence import SILENT_S
from jupyter_hpcsec.tunnel.spool import open_spool
from jupyter_hpcsec.tunnel.teller import Teller
from jupyter_hpcsec.tunnel.tls import MessageStream, client_context, dial
from tests.hub.deployment import Deployment, MemoryCredentials, server_name_of
from tests.identity.nodecredential import credential, fake_unmunge

LIMIT_S = 120


class Addresses:
    async def addresses(self, node: str) -> frozenset[Address] | None:
        known = {"node1": "127.0.0.1", "node2": "127.0.0.2"}
        return frozenset({ip_address(known[node])}) if node in known else frozenset()


class Keeper:
    def __init__(self) -> None:
        self.kept: list[tuple[Event, Trust]] = []

    def note(self, event: Event, trust: Trust = "gateway") -> None:
        self.kept.append((event, trust))

    async def keep(self, event: Event, trust: Trust = "gateway", sealed: Any = None) -> None:
        self.kept.append((event, trust))

    def require(self) -> None: ...

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event, _ in self.kept if isinstance(event, kind)]


class Credentials(RootCredentials):
    """Shows what a test wants to be shown as MUNGE's word."""

    def __init__(self, node: str = "node1", **changes: Any) -> None:
        super().__init__(node)
        self.node, self.changes = node, changes

    def evidence(self) -> Mapping[str, str]:
        return {"munge": credential(node_payload(self.node, self.fingerprint()), **self.changes)}


@pytest.fixture
async def site(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> AsyncIterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("n"))  # the paths of its sockets have to be short
    made.node_addresses, made.unmunge = Addresses(), (fake_unmunge(tmp_path),)
    made.observer = Keeper()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def spool(tmp_path: Path) -> NodeSpool:
    return NodeSpool(tmp_path / "spool")


def kept(site: Deployment) -> Keeper:
    assert isinstance(site.observer, Keeper)
    return site.observer


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def helper(
    site: Deployment, spool: NodeSpool, credentials: Any = None, *, node: str = "node1"
) -> AsyncIterator[list[str]]:
    said: list[str] = []
    link = NodeLink(
        spool, credentials or Credentials(node), node=node, endpoints=[site.endpoint], ca=site.broker.authority(),
        server_name=server_name_of, say=said.append, jitter=lambda: 0.0, poll_s=0.01,
    )  # fmt: skip
    running = asyncio.create_task(link.run())
    try:
        yield said
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


# Attacks


@pytest.mark.parametrize(
    ("credentials", "rule"),
    [
        (Credentials(uid=1001), "attest.munge-other-user"),
        (Credentials("node2"), "attest.address"),
        (Credentials(host="127.0.0.9"), "attest.munge-other-node"),
        (Credentials(age_s=3600), "attest.munge-expired"),
    ],
    ids=["a job's user", "another node's name", "from another machine", "an old credential"],
)
async def test_who_is_not_root_on_the_node_is_refused_and_nothing_is_taken(
    site: Deployment, spool: NodeSpool, credentials: Credentials, rule: str
) -> None:
    spool.put(GpuNodeJob(job="41", state="begun"))
    async with helper(site, spool, credentials, node=credentials.node) as said:
        await until(lambda: said)
    assert [each.rule for each in kept(site).of(EnrolmentRefused)][:1] == [rule]
    assert kept(site).of(ToldByRoot) == []
    assert spool.counts() == (1, 1)


async def test_a_credential_seen_by_somebody_else_opens_nothing(site: Deployment, spool: NodeSpool) -> None:
    """It binds root's key: with another one it is of no use, even before it was used."""
    roots = Credentials()
    stolen = roots.evidence()

    class Thief(Credentials):
        def evidence(self) -> Mapping[str, str]:
            return stolen

    async with helper(site, spool, Thief()) as said:
        await until(lambda: said)
    assert kept(site).of(EnrolmentRefused)[0].rule == "attest.munge-binding"


async def ask(site: Deployment, protocol: str, shown: tuple[bytes, bytes] | None, message: Any) -> m.FromGateway:
    ca = site.broker.authority()
    tls = await dial(
        ("127.0.0.1", site.port), client_context(protocol, ca, shown), server_name_of(ca), timeout_s=LIMIT_S,
        dead_after_s=45,
    )  # fmt: skip
    stream = MessageStream(tls)
    try:
        await stream.send(message)
        return m.decode_from_gateway(await stream.receive(m.MAX_ENROLLED))
    finally:
        stream.close()


async def test_a_job_s_certificate_tells_nothing_in_its_node_s_name(site: Deployment) -> None:
    registration = await site.register()
    credentials = MemoryCredentials()
    async with site.running_agent(registration, credentials=credentials):
        shown = (credentials.certificate_pem(), credentials.key_pem())
        answer = await ask(site, m.NODE, shown, m.NodeHello(version="x"))
    assert isinstance(answer, m.Denied)
    assert answer.rule == "certificate.not-a-node"


async def test_a_helper_s_certificate_opens_no_session(site: Deployment, spool: NodeSpool) -> None:
    credentials = Credentials()
    async with helper(site, spool, credentials) as said:
        await until(lambda: "the gateway is told" in said)
    shown = (credentials.certificate_pem(), credentials.key_pem())
    answer = await ask(site, m.CONTROL, shown, m.Hello(version="x", state="ready", message="", lanes=0))
    assert isinstance(answer, m.Denied)


async def test_without_a_certificate_nothing_can_be_told(site: Deployment) -> None:
    events = m.Events(boot=1, events=[m.Item(seq=1, at=0, by="node", event=raw({"kind": "gpu.node-job"}))])
    for message in (events, m.NodeHello(version="x"), m.Heartbeat(now=0)):
        assert isinstance(await ask(site, m.NODE, None, message), m.Denied)
    assert kept(site).of(ToldByRoot) == []


def raw(event: dict[str, Any]) -> Any:
    return msgspec.Raw(json.dumps(event).encode())


async def test_a_helper_can_t_lie_about_other_nodes_sessions_nor_in_other_names(
    site: Deployment, spool: NodeSpool
) -> None:
    elsewhere = await site.register(job_id="41")
    async with site.running_agent(elsewhere):  # on node1
        credentials = Credentials(host="127.0.0.1")
        async with helper(site, spool, credentials) as said:
            await until(lambda: "the gateway is told" in said)
        own = (credentials.certificate_pem(), credentials.key_pem())
        forged = [
            {"kind": "node.server-ended"},
            {"kind": "session.ended"},
            {"kind": "gpu.alert", "rule": "R5"},
            {"kind": "gpu.node-alert", "trust": "gateway"},
            {"kind": "gpu.node-alert", "job": "99", "node": "node2", "session": elsewhere.session, "project": "other"},
        ]
        items = [m.Item(seq=n, at=0, by="node", event=raw(event)) for n, event in enumerate(forged, 1)]
        await ask_twice(site, own, m.Events(boot=9, events=items))
        await until(lambda: len(kept(site).of(NodeRefused)) == 4)
    (told,) = kept(site).of(ToldByRoot)
    assert (told.node, told.session, told.job, told.told_by) == ("node1", "", "99", "node/node1/gpu")
    assert told.project == ""
    assert {trust for event, trust in kept(site).kept if isinstance(event, ToldByRoot)} == {"node"}


async def ask_twice(site: Deployment, shown: tuple[bytes, bytes], message: m.Events, *before: m.Seen) -> None:
    ca = site.broker.authority()
    context = client_context(m.NODE, ca, shown)
    stream = MessageStream(
        await dial(("127.0.0.1", site.port), context, server_name_of(ca), timeout_s=LIMIT_S, dead_after_s=45)
    )
    try:
        await stream.send(m.NodeHello(version="x"))
        await stream.receive(m.MAX_MESSAGE)
        for seen in before:
            await stream.send(seen)
        await stream.send(message)
        async with asyncio.timeout(LIMIT_S):
            while not isinstance(m.decode_from_gateway(await stream.receive(m.MAX_MESSAGE)), m.EventsAcked):
                pass
    finally:
        stream.close()


def test_a_session_can_t_tell_what_only_root_may() -> None:
    for by in ("agent", "server", "node"):
        with pytest.raises(Malformed):
            understood(m.Item(seq=1, at=0, by=by, event=raw({"kind": "gpu.node-alert"})), "a" * 32, 1, "x")


async def test_a_gateway_that_wants_none_hears_none(tmp_path: Path, spool: NodeSpool) -> None:
    site = Deployment(tmp_path / "off")
    (tmp_path / "off").mkdir()
    await site.start()
    try:
        async with helper(site, spool) as said:
            await until(lambda: said)
        assert "node_helpers" in said[0]
    finally:
        await site.stop()


# And what it is for


async def test_what_was_found_is_recorded_once_as_its_producer_s_word_of_the_job_s_session(
    site: Deployment, spool: NodeSpool
) -> None:
    registration = await site.register()
    async with site.running_agent(registration):
        spool.put(GpuNodeAlert(job="41", part="epilog", rule="processes", state="found"))
        async with helper(site, spool):
            await until(lambda: spool.counts() == (1, 0))
        spool.put(GpuNodeAlert(job="41", part="watch", rule="R1", state="raised"))
        async with helper(site, spool):
            await until(lambda: spool.counts() == (2, 0))
    told = kept(site).of(ToldByRoot)
    assert [(each.told_seq, each.rule, each.session, each.told_by) for each in told] == [
        (1, "processes", registration.session, "node/node1/gpu"),
        (2, "R1", registration.session, "node/node1/gpu"),
    ]
    assert kept(site).of(NodeHelperEnrolled)[0].node == "node1"
    assert kept(site).of(NodeGap) == []


async def test_a_killed_gateway_gets_each_event_once(site: Deployment, spool: NodeSpool) -> None:
    async with helper(site, spool) as said:
        spool.put(GpuNodeJob(job="7", state="begun"))
        await until(lambda: spool.counts() == (1, 0))
        await site.stop()
        spool.put(GpuNodeJob(job="7", state="over"))
        await site.start()
        await until(lambda: spool.counts() == (2, 0))
    assert [each.told_seq for each in kept(site).of(ToldByRoot)] == [1, 2]
    assert said[0] == "the gateway is told"


async def test_a_renewal_is_no_failure_to_wait_longer_after(spool: NodeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[float, bool]] = []
    link = NodeLink(
        spool, Credentials(), node="node1", endpoints=["127.0.0.1:1"], ca=b"", server_name=server_name_of,
        say=lambda _: None, jitter=lambda: 0.5,
    )  # fmt: skip

    async def enrol() -> None: ...

    async def hold() -> None:
        link.is_up = True

    async def sleep(seconds: float) -> None:
        waits.append((seconds, link.is_up))
        if len(waits) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(link, "_enrol", enrol)
    monkeypatch.setattr(link, "_hold", hold)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await link.run()
    assert set(waits) == {(FIRST_WAIT_S, False)}


@pytest.mark.parametrize("damage", [b"{", b'"x"', b"[1]", b'["no base64!"]', b'[""]', b"\xff"])
async def test_damaged_authorities_are_told_and_forgotten_and_the_site_s_own_counts(
    site: Deployment, spool: NodeSpool, damage: bytes
) -> None:
    spool.set_fact(AUTHORITIES, damage)
    async with helper(site, spool) as said:
        await until(lambda: "the gateway is told" in said)
        await until(lambda: kept(site).of(GpuNodeWatch))
    assert "damaged" in said[0]
    assert [(each.state, each.node) for each in kept(site).of(GpuNodeWatch)] == [("damaged", "node1")]


async def test_a_replayed_batch_is_recorded_once(site: Deployment, spool: NodeSpool) -> None:
    credentials = Credentials()
    async with helper(site, spool, credentials) as said:
        await until(lambda: "the gateway is told" in said)
    shown = (credentials.certificate_pem(), credentials.key_pem())
    batch = m.Events(boot=3, events=[m.Item(seq=1, at=0, by="node", event=raw({"kind": "gpu.node-job", "job": "7"}))])
    for _ in range(3):
        await ask_twice(site, shown, batch)
    assert len(kept(site).of(GpuNodeJob)) == 1


class Recorder:
    def __init__(self) -> None:
        self.own: list[tuple[str, m.Seen]] = []
        self.root: list[tuple[str, str, m.Seen]] = []
        self.gone: list[str] = []

    def session_sees(self, session: str, seen: m.Seen) -> None:
        self.own.append((session, seen))

    def root_sees(self, node: str, session: str, seen: m.Seen) -> None:
        self.root.append((node, session, seen))

    def node_gone(self, node: str) -> None:
        self.gone.append(node)


async def test_views_arrive_as_those_of_the_right_session_and_are_not_recorded(
    site: Deployment, spool: NodeSpool, tmp_path: Path
) -> None:
    recorder = Recorder()
    site.nodes._watchers = recorder
    registration = await site.register()
    teller = Teller(open_spool([tmp_path]))
    lie = m.Seen(job="99", held=[m.Held(device="GPU-1", pids=[1], memory=5)])
    async with site.running_agent(registration, teller=teller):
        teller.show(lie)
        await until(lambda: recorder.own)
        credentials = Credentials()
        async with helper(site, spool, credentials) as said:
            await until(lambda: "the gateway is told" in said)
        shown = (credentials.certificate_pem(), credentials.key_pem())
        batch = m.Events(boot=9, events=[m.Item(seq=1, at=0, by="node", event=raw({"kind": "gpu.node-job"}))])
        await ask_twice(site, shown, batch, m.Seen(job="41"), m.Seen(job="99"), m.Seen())
        await until(lambda: len(recorder.gone) == 2)
    ((session, seen),) = recorder.own
    assert (session, seen.job, seen.held) == (registration.session, "", lie.held)
    assert [(node, whose) for node, whose, _ in recorder.root] == [("node1", registration.session)]
    assert not [event for event, _ in kept(site).kept if "Seen" in type(event).__name__]


async def test_silence_is_told_once_and_its_end(site: Deployment, spool: NodeSpool) -> None:
    now = [0.0]
    site.nodes._clock = lambda: now[0]  # the one thing that is patched
    async with helper(site, spool):
        spool.put(GpuNodeJob(job="7", state="begun"))
        await until(lambda: spool.counts() == (1, 0))
        now[0] += SILENT_S + 1
        for _ in range(3):
            site.nodes.sweep()
        assert len(kept(site).of(NodeHelperSilent)) == 1
        assert site.nodes.counts()["silent"] == 1
        spool.put(GpuNodeJob(job="7", state="over"))
        await until(lambda: kept(site).of(NodeHelperHeard))
    assert site.nodes.counts()["silent"] == 0


async def test_what_is_on_record_is_remembered_though_the_store_was_not_told(site: Deployment) -> None:
    site.store.set_heard("node/node1", 5, 1)
    leaves = [
        {"trust": "node", "kind": "gpu.node-job", "node": "node1", "session": "a" * 32, "told_by": "node/node1/gpu",
         "told_boot": 5, "told_seq": seq} for seq in (2, 3)
    ]  # fmt: skip
    recall([json.dumps(leaf).encode() for leaf in leaves], site.store)
    assert site.store.heard("node/node1") == (5, 3)
    site.store.purge(1 << 40)
    assert site.store.nodes() == ["node1"]
