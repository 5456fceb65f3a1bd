"""Attestors: is an agent that shows a token really the job that the token was made for?

Each attestor answers by returning or by raising; there is no third answer, and one that can't ask fails closed
(:class:`Unavailable`). A deployment lists its attestors, and every one of them must agree.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.identity.jobs import (
    Address,
    JobFacts,
    NodeAddresses,
    Scheduler,
    UnsafeAnyAddress,
    check_job,
    check_peer,
)
from jupyter_hpcsec.identity.munge import (
    MungeFacts,
    check_munge,
    munge_decode,
    munge_encode,
    munge_payload,
)
from jupyter_hpcsec.identity.slurm import JobRecord, SlurmScheduler, parse_scontrol

__all__ = [
    "Address",
    "AttestationClaim",
    "Attestor",
    "JobFacts",
    "JobRecord",
    "MungeAttestor",
    "MungeFacts",
    "NodeAddresses",
    "Scheduler",
    "SchedulerAttestor",
    "SlurmScheduler",
    "UnsafeAnyAddress",
    "UnsafeNoAttestor",
    "check_job",
    "check_munge",
    "munge_decode",
    "munge_encode",
    "munge_payload",
    "parse_scontrol",
]


@dataclass(frozen=True)
class AttestationClaim:
    """What is to be proved. ``session`` and ``uid`` come from the gateway's own books, the rest from the agent.

    ``peer_address`` is the address of the enrolling connection as the gateway's socket gives it; ``spki``: 32 bytes,
    SHA-256 of the agent's public key; ``evidence``: what each attestor asks of the agent, by name.
    """

    session: str
    uid: int
    job_id: str
    node: str
    peer_address: str
    spki: bytes
    evidence: Mapping[str, str] = field(default_factory=dict)


class Attestor(Protocol):
    """One way to find out."""

    @property
    def name(self) -> str:
        """Return the attestor's name in configuration, status and log."""

    async def attest(self, claim: AttestationClaim) -> int | None:
        """Return where the claim holds, raise an :class:`HpcsecError` of any kind otherwise.

        The value is the job's end (Unix seconds) where the attestor knows it: no certificate outlives that.
        """

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> int | None:
        """Return the end of a job that enrolled before, as it is now; None where this attestor does not know ends.

        Raises an :class:`HpcsecError` where the job is not the one that enrolled any more, or nobody answers.
        """


class SchedulerAttestor:
    """Asks the batch system whether the job is the user's and runs now, on the node that the connection comes from."""

    name = "scheduler"

    def __init__(self, scheduler: Scheduler, addresses: NodeAddresses) -> None:
        self._scheduler = scheduler
        self._addresses = addresses

    async def attest(self, claim: AttestationClaim) -> int | None:
        """Refuse unless the job fits (:func:`check_job`) and the peer's address is the node's; the job's end."""
        facts = await self._scheduler.job(claim.job_id)
        check_job(facts, uid=claim.uid, job_id=claim.job_id, node=claim.node)
        # The agent only claims its node; where its connection comes from it can't choose.
        await _check_address(self._addresses, claim)
        return facts.end_time if facts else None

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> int | None:
        """Return the job's end now: an administrator may have changed its time limit."""
        facts = await self._scheduler.job(job_id)
        check_job(facts, uid=uid, job_id=job_id, node=node)
        return facts.end_time if facts else None


async def _check_address(addresses: NodeAddresses, claim: AttestationClaim) -> None:
    expected = await addresses.addresses(claim.node)
    if expected is None:
        return
    check_peer(claim.peer_address, expected, claim.node)


class MungeAttestor:
    """Asks MUNGE whether a process of the user's, on the node, vouches for this session and key.

    The credential is ``evidence["munge"]``. ``command`` is ``unmunge`` with its options (``--socket=PATH``);
    ``clock`` gives Unix seconds.
    """

    name = "munge"

    def __init__(
        self,
        addresses: NodeAddresses,
        command: Sequence[str] = ("unmunge",),
        env: Mapping[str, str] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._addresses = addresses
        self._command = tuple(command)
        self._env = env
        self._clock = clock

    async def attest(self, claim: AttestationClaim) -> None:
        """Refuse unless the credential is valid and :func:`check_munge` holds."""
        credential = claim.evidence.get("munge")
        if not credential:
            raise Refused("attest.munge-missing", "the agent sent no MUNGE credential; is munge running on the node?")
        facts = await munge_decode(credential, command=self._command, env=self._env)
        hosts = await self._addresses.addresses(claim.node)
        check_munge(facts, uid=claim.uid, spki=claim.spki, session=claim.session, hosts=hosts, now=int(self._clock()))

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> None:
        """MUNGE knows of no job."""


class UnsafeNoAttestor:
    """Proves nothing: whoever holds the token is believed. For the demonstration on one computer only."""

    name = "none"

    async def attest(self, claim: AttestationClaim) -> None:
        """Accept."""

    async def ends_at(self, *, uid: int, job_id: str, node: str) -> None:
        """It knows of no job."""
