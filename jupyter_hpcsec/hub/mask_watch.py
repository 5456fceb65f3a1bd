"""Whether a session's masks still lie where its plan wants them. It looks and says; ``job`` ends the session.

A mask is a mount in the session's mount namespace. Whoever may rename or remove the file or directory under it, outside
of the session, takes it off: what is removed or renamed over loses its mounts in other namespaces, what is renamed
carries them along (mount_namespaces(7), *Restrictions on mount namespaces*). What then lies at the path is in the open.
"""

import asyncio
from collections.abc import Callable, Mapping

from jupyter_hpcsec.access.mountinfo import parse, read
from jupyter_hpcsec.access.values import Enforcement, Mask, Plan
from jupyter_hpcsec.hub.server_process import ServerProcess

INTERVAL_S = 2.0

UNREADABLE = (
    "Whether the places that the policy denies are still covered could not be seen on the node, so the session was "
    "ended; start the server again."
)


def mask_mounts(plan: Plan, mountinfo: str) -> dict[str, frozenset[int]]:
    """The numbers of the mounts at each planned mask's path, none for one that is not there."""
    found: dict[str, set[int]] = {masked.path: set() for masked in plan.masks}
    for mount in parse(mountinfo):
        if mount.point in found:
            found[mount.point].add(mount.number)
    return {path: frozenset(numbers) for path, numbers in found.items()}


def missing(plan: Plan, mountinfo: str, since: Mapping[str, frozenset[int]] | None = None) -> list[str]:
    """The planned masks' paths at which nothing is mounted, or no longer all that was, by ``since``.

    A mount that covers another does not hide it from the table. More mounts at a path than before are no fault: the
    node's own can arrive there, below the mask.
    """
    before = since or {}
    return [
        path
        for path, numbers in mask_mounts(plan, mountinfo).items()
        if not numbers or not before.get(path, frozenset()) <= numbers
    ]


def uncovered(plan: Plan, path: str) -> str:
    """What the user is told of a place that lost its mask."""
    hidden = any(masked.path == path and masked.mask is Mask.HIDDEN for masked in plan.masks)
    rule = "denies" if hidden else "lets only be read"
    return (
        f"The place {path} that the policy {rule} was replaced on the node while the session ran, so that it was no "
        "longer covered; start the server again."
    )


async def watch(
    plan: Plan,
    server: ServerProcess,
    *,
    read: Callable[[int], str] = read,
    interval_s: float = INTERVAL_S,
) -> str:
    """Why the session must end; empty when the server ended by itself, or when it has no masks of its own."""
    if not (plan.masks and plan.namespaces and plan.enforcement is Enforcement.REQUIRED):
        return ""
    since: dict[str, frozenset[int]] = {}
    over = asyncio.get_running_loop().create_task(server.wait())
    try:
        while not server.has_ended:
            try:
                table = read(server.pid)
            except OSError:  # it has no table any more while it ends, which is told a moment later
                await asyncio.wait({over}, timeout=interval_s)
                return "" if server.has_ended else UNREADABLE
            if gone := missing(plan, table, since):
                return uncovered(plan, gone[0])
            since = since or mask_mounts(plan, table)
            await asyncio.wait({over}, timeout=interval_s)
        return ""
    finally:
        over.cancel()
