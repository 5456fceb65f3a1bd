"""From the user's rules to the plan of this session on this node: asks the node what there is, then compiles.

The looking is done in a thread that nobody waits for, and in a process: a file system that does not answer must not
keep the agent from its heartbeats, or the job from its end, and the agent's own memory must not be copied into a
process that others may look into.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping

from jupyter_hpcsec.access import code
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
        made = compile_plan(access, find(access, environment, runtime=directory.path, namespaces=namespaces))
        code.check(made)  # the agent's own; the sandbox asks for what it runs
        return made

    try:
        async with asyncio.timeout(LOOK_LIMIT_S):
            return await _apart(look)
    except TimeoutError as error:
        raise Unavailable(
            f"The policy's paths could not be looked at on this node within {LOOK_LIMIT_S:g} s; a file system does not "
            "answer."
        ) from error


async def _apart(look: Callable[[], Plan]) -> Plan:
    """In a thread that nobody waits for: one that a file system holds must not hold the end of the job."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Plan] = loop.create_future()

    def settle(plan: Plan | None, error: Exception | None) -> None:
        if answer.done():  # given up meanwhile
            return
        if plan is None:
            answer.set_exception(error or AssertionError("BUG: neither a plan nor an error"))
        else:
            answer.set_result(plan)

    def work() -> None:
        plan, failure = None, None
        try:
            plan = look()
        except Exception as error:  # noqa: BLE001 - it is raised where the plan is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the job is over
            loop.call_soon_threadsafe(settle, plan, failure)

    threading.Thread(target=work, name="plan", daemon=True).start()
    return await answer
