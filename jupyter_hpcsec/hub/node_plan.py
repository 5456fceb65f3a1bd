"""From the user's rules to the plan of this session on this node: asks the node what there is, then compiles.

The looking is done in a thread and in a process of their own: a file system that does not answer must not keep the
agent from its heartbeats, and the agent's own memory must not be copied into a process that others may look into.
"""

import asyncio
from collections.abc import Mapping

from jupyter_hpcsec.access.mounts import probe_command
from jupyter_hpcsec.access.plan import compile as compile_plan
from jupyter_hpcsec.access.plan import unrestricted
from jupyter_hpcsec.access.system import find
from jupyter_hpcsec.access.values import Plan, Resolved
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory

LOOK_LIMIT_S = 60.0
"""Seconds that looking at the policy's paths may take."""


async def why_no_namespaces() -> str:
    """Why the session can't have a mount namespace here; empty when it can."""
    process = await asyncio.create_subprocess_exec(
        *probe_command(),
        env={},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return "" if process.returncode == 0 else said.decode(errors="replace").strip() or "the probe failed"


async def plan_for(
    access: Resolved, environment: Mapping[str, str], directory: RuntimeDirectory, *, namespaces: bool
) -> Plan:
    """The plan; ``Unavailable`` with one sentence when the rules can't be held here."""
    if not access.policy:
        return unrestricted(access.subject.user, access.network.bind)

    def look() -> Plan:
        return compile_plan(access, find(access, environment, runtime=directory.path, namespaces=namespaces))

    try:
        async with asyncio.timeout(LOOK_LIMIT_S):
            return await asyncio.to_thread(look)
    except TimeoutError as error:
        raise Unavailable(
            f"The policy's paths could not be looked at on this node within {LOOK_LIMIT_S:g} s; a file system does not "
            "answer."
        ) from error
