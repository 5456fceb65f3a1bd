"""Checks of owners and modes: what holds keys, sockets and state must be open to one user only."""

from collections.abc import Sequence
from pathlib import Path

from jupyter_hpcsec.ops.doctor.finding import Finding, bad, ok, unknown
from jupyter_hpcsec.ops.doctor.world import FileFact, World


def examine(world: World, hop: str, path: Path, *, kind: str, widest: int, owner: int | None) -> Finding:
    """One path: there, of the kind, owned by ``owner`` (None: not known) and no wider than ``widest``."""
    try:
        fact = world.stat(path)
    except PermissionError:
        return unknown(
            hop, f"{path} can't be looked at by this user", "run the doctor as root or as the gateway's user"
        )
    return judge(world, hop, path, fact, kind=kind, widest=widest, owner=owner)


def impassable(world: World, hop: str, socket: Path, directories: Sequence[Path]) -> list[Finding]:
    """A line for each directory that keeps other accounts from sockets which, like ``socket``, a group may use."""
    try:
        fact = world.stat(socket)
        found = {path: world.stat(path) for path in directories}
    except PermissionError:
        return []  # said where they are examined
    if fact is None or not fact.mode & 0o060:
        return []
    return [
        bad(hop, f"{path} has mode {each.mode:04o}: hub and proxy can't pass to its sockets", f"chmod 0755 {path}")
        for path, each in found.items()
        if each is not None and not each.mode & 0o011
    ]


def judge(
    world: World, hop: str, path: Path, fact: FileFact | None, *, kind: str, widest: int, owner: int | None
) -> Finding:
    """See ``examine``. A symbolic link is never taken for what it points to."""
    if fact is None:
        return bad(hop, f"{path} is missing", "the gateway makes it when it starts: start the gateway and read its log")
    if fact.kind != kind:
        return bad(hop, f"{path} should be a {kind}", "move it away and restart the gateway, which makes its own")
    if fact.mode & ~widest:
        return bad(hop, f"{path} has mode {fact.mode:04o}, at most {widest:04o} is safe", f"chmod {widest:04o} {path}")
    if owner is not None and fact.uid != owner:
        name, wanted = world.user_name(fact.uid), world.user_name(owner)
        return bad(hop, f"{path} belongs to {name}, not to {wanted}", f"chown {wanted} {path}, and find out who did it")
    return ok(hop, f"{path}: {fact.mode:04o}, {world.user_name(fact.uid)}")
