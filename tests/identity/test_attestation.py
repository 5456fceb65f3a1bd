"""Attestors fail closed: no answer is a no."""

import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.attestation import (
    Address,
    AttestationClaim,
    Attestor,
    JobFacts,
    MungeAttestor,
    SchedulerAttestor,
    UnsafeAnyAddress,
    UnsafeNoAttestor,
    munge_payload,
)

SID, SPKI = "5e55" * 8, b"\x01" * 32
JOB = JobFacts("17", 1001, "RUNNING", ("node1",), batch_host="node1")
CLAIM = AttestationClaim(SID, 1001, "17", "node1", "10.77.0.11", SPKI, {})


class Cluster:
    """A batch system that answers what it is told to."""

    def __init__(self, answer: JobFacts | HpcsecError | None, node: str | HpcsecError = "10.77.0.11") -> None:
        self._answer, self._node = answer, node

    async def job(self, job_id: str) -> JobFacts | None:
        if isinstance(self._answer, HpcsecError):
            raise self._answer
        return self._answer

    async def addresses(self, node: str) -> frozenset[Address]:
        if isinstance(self._node, HpcsecError):
            raise self._node
        return frozenset({ip_address(self._node)})


def scheduler(answer: JobFacts | HpcsecError | None = JOB, node: str | HpcsecError = "10.77.0.11") -> Attestor:
    cluster = Cluster(answer, node)
    return SchedulerAttestor(cluster, cluster)


async def refusal(attestor: Attestor, claim: AttestationClaim = CLAIM) -> str:
    with pytest.raises(Refused) as caught:
        await attestor.attest(claim)
    return caught.value.rule.removeprefix("attest.")


@pytest.mark.parametrize("error", [Unavailable("no controller"), Malformed("what?"), Refused("attest.x", "no")])
async def test_a_scheduler_that_fails_is_no_yes(error: HpcsecError) -> None:
    with pytest.raises(type(error)):
        await scheduler(error).attest(CLAIM)
    with pytest.raises(type(error)):
        await scheduler(JOB, error).attest(CLAIM)


async def test_what_the_scheduler_does_not_confirm_is_refused() -> None:
    assert await refusal(scheduler(None)) == "unknown-job"
    assert await refusal(scheduler(replace(JOB, uid=1002))) == "other-user"
    assert await refusal(scheduler(replace(JOB, state="PENDING"))) == "pending"
    assert await refusal(scheduler(replace(JOB, state="COMPLETING"))) == "ended"
    assert await refusal(scheduler(replace(JOB, restarts=1))) == "requeued"
    assert await refusal(scheduler(), replace(CLAIM, node="node2")) == "other-node"
    assert await refusal(scheduler(), replace(CLAIM, uid=1002)) == "other-user"


@pytest.mark.parametrize("peer", ["10.77.0.12", "127.0.0.1", "::1", "", "node1", "/run/socket"])
async def test_a_node_that_is_only_claimed_is_refused(peer: str) -> None:
    # A stolen token on node2, whose thief says what is true of its owner: job 17, node1.
    thief = replace(CLAIM, peer_address=peer)
    await SchedulerAttestor(Cluster(JOB), UnsafeAnyAddress()).attest(thief)
    assert await refusal(scheduler(), thief) == "address"


@pytest.mark.parametrize("peer", ["10.77.0.11", "::ffff:10.77.0.11", "::ffff:a4d:b"])
async def test_the_running_job_from_its_node_passes(peer: str) -> None:
    await scheduler().attest(replace(CLAIM, peer_address=peer))


@pytest.mark.parametrize("evidence", [{}, {"munge": ""}, {"Munge": "MUNGE:AAAA:"}])
async def test_no_credential_is_refused(evidence: dict[str, str]) -> None:
    attestor = MungeAttestor(Cluster(None), ("false",))
    assert await refusal(attestor, replace(CLAIM, evidence=evidence)) == "munge-missing"


@pytest.fixture
def unmunge(tmp_path: os.PathLike[str]) -> Callable[..., MungeAttestor]:
    """An attestor whose unmunge finds a credential valid, with the contents given."""

    def make(uid: int, payload: bytes, host: str = "10.77.0.11", written: int = 1000) -> MungeAttestor:
        script = f"{tmp_path}/unmunge"
        values = {
            "STATUS": 0,
            "ENCODE_HOST": host,
            "ENCODE_TIME": written,
            "DECODE_TIME": written,
            "TTL": 120,
            "CIPHER": 4,
        }
        values |= {"MAC": 5, "ZIP": 0, "UID": uid, "GID": uid, "LENGTH": len(payload)}
        lines = "\n".join(f"{name}: {value}" for name, value in values.items())
        descriptor = os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755)
        os.write(descriptor, f"#!/bin/sh\ncat <<'END'\n{lines}\n\n{payload.decode()}END\n".encode())
        os.close(descriptor)
        return MungeAttestor(Cluster(None), (script,), clock=lambda: 1000.5)

    return make


async def test_a_credential_that_says_something_else_is_refused(unmunge: Callable[..., MungeAttestor]) -> None:
    claim = replace(CLAIM, evidence={"munge": "MUNGE:AAAA:"})
    good = munge_payload(SID, SPKI)
    assert await refusal(unmunge(1002, good), claim) == "munge-other-user"
    assert await refusal(unmunge(1001, munge_payload(SID, b"\x02" * 32)), claim) == "munge-binding"
    assert await refusal(unmunge(1001, munge_payload("a" * 32, SPKI)), claim) == "munge-binding"
    assert await refusal(unmunge(1001, good, host="10.77.0.12"), claim) == "munge-other-node"
    assert await refusal(unmunge(1001, good, written=800), claim) == "munge-expired"
    await unmunge(1001, good).attest(claim)


async def test_a_munge_that_fails_is_no_yes() -> None:
    claim = replace(CLAIM, evidence={"munge": "MUNGE:AAAA:"})
    with pytest.raises(Unavailable):
        await MungeAttestor(Cluster(None), ("false",)).attest(claim)


async def test_a_jobs_end_is_the_schedulers_word_on_the_job_that_enrolled() -> None:
    job = {"uid": 1001, "job_id": "17", "node": "node1"}
    for answer in (None, replace(JOB, uid=1002), replace(JOB, state="SUSPENDED"), replace(JOB, nodes=("node2",))):
        with pytest.raises(Refused):
            await scheduler(answer).ends_at(**job)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await scheduler(Unavailable("no controller")).ends_at(**job)  # type: ignore[arg-type]
    assert await scheduler().ends_at(**job) is None  # type: ignore[arg-type]
    assert await scheduler(replace(JOB, end_time=7)).ends_at(**job) == 7  # type: ignore[arg-type]
    for attestor in (MungeAttestor(Cluster(None)), UnsafeNoAttestor()):
        assert await attestor.ends_at(**job) is None  # type: ignore[arg-type, func-returns-value]


async def test_unsafe_no_attestor_says_what_it_is() -> None:
    await UnsafeNoAttestor().attest(CLAIM)
    assert UnsafeNoAttestor.name == "none"
    assert (SchedulerAttestor.name, MungeAttestor.name) == ("scheduler", "munge")
