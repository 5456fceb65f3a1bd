"""MUNGE: the cluster's own proof of who runs a process, bound here to one session and one key.

A credential says "a process of this uid on this host wrote this payload". The payload names the session and the
agent's public key, so that a credential seen by somebody else opens nothing: the certificate goes to the key in it.
Whoever is root on any machine of the realm can write a credential of any uid: MUNGE is one attestor, the scheduler's
answer is another.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.identity.commands import DEFAULT_PATH, FIXED, run_command
from jupyter_hpcsec.identity.jobs import Address, parse_address

CREDENTIAL_LIMIT = 4096
"""Characters; one with our payload has about 300."""
AGE_LIMIT_S = 120
"""Seconds from writing a credential on the node to its use; an agent writes it just before it enrols."""
SKEW_S = 60
"""Seconds by which the node's clock may be ahead."""

_CREDENTIAL = re.compile(r"MUNGE:[A-Za-z0-9+/]+={0,2}:")
_SESSION = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
_KEYS = {"STATUS", "ENCODE_HOST", "ENCODE_TIME", "DECODE_TIME", "TTL", "CIPHER", "MAC", "ZIP", "UID", "GID", "LENGTH"}
_RESTRICTIONS = {"UID_RESTRICTION", "GID_RESTRICTION"}
_BAD_CREDENTIAL = range(8, 19)
"""Exit statuses of unmunge (munge_err_t in munge.h) that speak of the credential; the others speak of MUNGE itself."""
_REASONS = {15: "expired", 16: "rewound", 17: "replayed"}


@dataclass(frozen=True)
class MungeFacts:
    """What a credential proves. ``host``: the address of its writer's machine; ``encode_time``: Unix seconds there."""

    uid: int
    gid: int
    host: str
    payload: bytes
    encode_time: int


def munge_payload(session: str, spki: bytes) -> bytes:
    """Return the bytes that bind session id and key (``spki``: 32 bytes, SHA-256 of the SubjectPublicKeyInfo)."""
    if not _SESSION.fullmatch(session) or len(spki) != 32:
        raise Malformed("a credential binds a session id and a SHA-256")
    return f"hpcsec-enrol/1\nsession={session}\nspki-sha256={spki.hex()}\n".encode()


def munge_encode(payload: bytes, *, command: Sequence[str] = ("munge",), timeout_s: float = 10) -> str:
    """Write a credential, on the node (blocks for milliseconds); :class:`Unavailable` where MUNGE does not work."""
    try:
        done = subprocess.run(
            # No compression, a short life: less for the other side to parse, less for a thief to keep.
            [*command, "--zip=none", f"--ttl={AGE_LIMIT_S}"],
            input=payload,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={"PATH": DEFAULT_PATH, **FIXED},
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} can't be run on this node: {error}") from error
    credential = done.stdout.decode(errors="replace").strip()
    if done.returncode or not _CREDENTIAL.fullmatch(credential):
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Unavailable(f"{command[0]} gave no credential: {' '.join(said) or 'no reason given'}")
    return credential


async def munge_decode(
    credential: str,
    *,
    command: Sequence[str] = ("unmunge",),
    env: Mapping[str, str] | None = None,
    timeout_s: float = 10,
) -> MungeFacts:
    """Ask this machine's MUNGE what ``credential`` proves.

    :class:`Refused` (``attest.munge-<why>``) unless it is valid, fresh and seen for the first time;
    :class:`Unavailable` where MUNGE does not work here. A credential is used up by this.
    """
    # 1. Small, and in the one form that munge prints.
    if len(credential) > CREDENTIAL_LIMIT or not _CREDENTIAL.fullmatch(credential):
        raise Refused("attest.munge-form", "that is not a MUNGE credential")
    # 2. Numbers, not names: no reverse lookup of the writer's address, no user database.
    answer = await run_command([*command, "--numeric"], env=env, stdin=credential.encode(), timeout_s=timeout_s)
    # 3. Success and nothing else: for an expired or replayed credential unmunge prints uid and payload all the same.
    if answer.returncode:
        if answer.returncode not in _BAD_CREDENTIAL:
            raise Unavailable(f"{command[0]} failed: {answer.stderr.strip()[-200:] or 'no reason given'}")
        why = _REASONS.get(answer.returncode, "invalid")
        raise Refused(f"attest.munge-{why}", f"the MUNGE credential is {why}")
    return parse_unmunge(answer.stdout)


def parse_unmunge(output: bytes) -> MungeFacts:
    """Read what ``unmunge --numeric`` printed for a valid credential; :class:`Malformed` for anything else."""
    head, separator, payload = output.partition(b"\n\n")
    if not separator or len(head) > 2048:
        raise Malformed("unmunge's answer has no end of metadata")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("unmunge's metadata is not ASCII") from error
    values: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name in values or name not in _KEYS | _RESTRICTIONS:
            raise Malformed("unmunge's metadata holds an unknown or repeated line")
        values[name] = value.strip()
    if set(values) - _RESTRICTIONS != _KEYS:
        raise Malformed("unmunge's metadata is not complete")
    numbers = {name: _integer(values[name]) for name in ("STATUS", "UID", "GID", "ENCODE_TIME", "LENGTH")}
    if numbers["STATUS"] != 0 or numbers["LENGTH"] != len(payload):
        raise Malformed("unmunge's answer contradicts itself")
    host = str(parse_address(values["ENCODE_HOST"]))
    return MungeFacts(numbers["UID"], numbers["GID"], host, payload, numbers["ENCODE_TIME"])


def _integer(value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise Malformed("unmunge's metadata holds an unknown number")
    return int(value)


def check_munge(
    facts: MungeFacts, *, uid: int, spki: bytes, session: str, hosts: frozenset[Address] | None, now: int
) -> None:
    """Raise :class:`Refused` (``attest.munge-<why>``) unless the credential speaks for this uid, key, session and node.

    ``hosts`` are the node's addresses, None to compare none; ``now``: Unix seconds.
    """
    check_bound(facts, uid=uid, payload=munge_payload(session, spki), hosts=hosts, now=now)


def check_bound(facts: MungeFacts, *, uid: int, payload: bytes, hosts: frozenset[Address] | None, now: int) -> None:
    """Raise :class:`Refused` (``attest.munge-<why>``) unless the credential speaks for this uid, payload and node."""
    # 1. Written by who has to have written it.
    if facts.uid != uid:
        raise Refused("attest.munge-other-user", "the MUNGE credential was written by another user")
    # 2. For this purpose and this key, byte by byte: there is one payload and no parser for it.
    if facts.payload != payload:
        raise Refused("attest.munge-binding", "the MUNGE credential binds another session, node or key")
    # 3. Just now.
    if now - facts.encode_time > AGE_LIMIT_S:
        raise Refused("attest.munge-expired", "the MUNGE credential is too old; compare the clocks of node and hub")
    if facts.encode_time - now > SKEW_S:
        raise Refused(
            "attest.munge-rewound", "the MUNGE credential is from the future; compare the clocks of node and hub"
        )
    # 4. On this node.
    if hosts is not None and parse_address(facts.host) not in hosts:
        raise Refused(
            "attest.munge-other-node",
            f"the MUNGE credential was written on {facts.host}, which is no address of the node; if it is, set munged's"
            " --origin on the node",
        )
