"""What a batch system says of a job, and whether that fits the job that an agent claims to be.

Pure: facts in, a refusal or nothing out. Asking the batch system is the business of :mod:`.slurm` and its like,
which keep to the two protocols here.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from jupyter_hpcsec.errors import Malformed, Refused

Address = IPv4Address | IPv6Address

NODE = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?")
"""A node's name: a host name (RFC 1123) or a batch system's alias for one; never an option, a path or a list."""
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\[\]-]{0,127}")
"""A job's id as any supported batch system writes it (``17``, ``17.pbs01``); a batch system's own check is narrower."""

_NOT_YET = {"PENDING", "CONFIGURING"}
_REQUEUED = {"REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
_PAUSED = {"SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"}


@dataclass(frozen=True)
class JobFacts:
    """A job as its batch system sees it now. ``end_time``: Unix seconds; ``time_limit_s``: None for no limit.

    ``batch_host`` is the node on which the job's script runs, None where the job has no script. ``restarts`` counts how
    often the job has been put back into the queue.
    """

    job_id: str
    uid: int
    state: str
    nodes: tuple[str, ...]
    reason: str = ""
    time_limit_s: int | None = None
    end_time: int | None = None
    batch_host: str | None = None
    restarts: int = 0


class Scheduler(Protocol):
    """A batch system that can be asked about a job."""

    async def job(self, job_id: str) -> JobFacts | None:
        """Return the facts now, None for a job that it does not know; :class:`Unavailable` where it gives no answer."""


class NodeAddresses(Protocol):
    """Something that knows the addresses from which a node speaks."""

    async def addresses(self, node: str) -> frozenset[Address] | None:
        """Return the node's addresses; None means that no address is to be compared."""


class UnsafeAnyAddress:
    """Compares no address. For nodes behind address translation; a stolen token then works from any node as well."""

    async def addresses(self, node: str) -> None:
        """Answer that nothing is to be compared."""


def parse_address(text: str) -> Address:
    """Read one IP address; IPv4 that a dual-stack socket wrote as IPv6 comes back as IPv4 (RFC 4291, 2.5.5.2)."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise Malformed("that is not an IP address") from error
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def check_job(facts: JobFacts | None, *, uid: int, job_id: str, node: str) -> None:
    """Raise :class:`Refused` (``attest.<why>``) unless job ``job_id`` is ``uid``'s, runs now, and runs on ``node``."""
    # 1. The batch system knows the job.
    if facts is None:
        raise Refused("attest.unknown-job", "the batch system does not know the job")
    # 2. It answered about the job that was asked for.
    if facts.job_id != job_id:
        raise Refused("attest.other-job", "the batch system answered about another job")
    # 3. The job is the session's user's. Before its state, which is nobody else's business.
    if facts.uid != uid:
        raise Refused("attest.other-user", "the job belongs to another user")
    # 4. It has never been put back: a job that starts again comes with the token of its first start.
    if facts.restarts or facts.state in _REQUEUED:
        raise Refused("attest.requeued", "the job was requeued; start the server again")
    # 5. It runs. One state is accepted; those that are known by name get a better sentence.
    if facts.state in _NOT_YET:
        raise Refused("attest.pending", "the job is not running yet")
    if facts.state in _PAUSED:
        raise Refused("attest.not-running", "the job is suspended")
    if facts.state != "RUNNING":
        raise Refused("attest.ended", "the job is not running any more")
    # 6. On this node.
    if node not in facts.nodes:
        raise Refused("attest.other-node", "the job does not run on this node")
    # 7. And this is the node of its script: on the job's other nodes only the user's own processes run.
    if facts.batch_host is not None and node != facts.batch_host:
        raise Refused("attest.other-node", "the job's script does not run on this node")


def check_peer(peer_address: str, expected: frozenset[Address], node: str) -> None:
    """Refuse a connection that comes from none of a node's addresses."""
    try:
        peer = parse_address(peer_address)
    except Malformed as error:
        raise Refused("attest.address", "the connection has no IP address to compare") from error
    if peer not in expected:
        raise Refused("attest.address", f"the connection comes from {peer}, which is no address of node {node}")
