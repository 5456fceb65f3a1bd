"""``hpcsec access run``: any command, in the sandbox that a policy gives to a user, so that admins can try it.

It is what a session's job does (``hub.job``) without hub, gateway and tunnel. Started by root it becomes the user
first; anybody else runs the command as themselves, under the rules of the user that they name.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jupyter_hpcsec.access import plan, system
from jupyter_hpcsec.access.sandbox import CANNOT_START, requirements
from jupyter_hpcsec.access.values import Code, Plan, Resolved, Subject
from jupyter_hpcsec.errors import HpcsecError, Unavailable
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory, runtime_directory
from jupyter_hpcsec.hub.server_process import start_server
from jupyter_hpcsec.ops.access_commands import resolve_file
from jupyter_hpcsec.ops.console import Console


@dataclass(frozen=True)
class Run:
    """What to run, for whom, under which policy; ``says`` shows plan and receipt first."""

    policy: Path
    subject: Subject
    command: tuple[str, ...]
    says: bool = False


def run(wish: Run, caller: Mapping[str, str], console: Console) -> int:
    """The command's own exit status (128 and the number for a signal), or 126 after one sentence."""
    try:
        environment = become(wish.subject, caller)
        resolved = resolve_file(wish.policy, wish.subject)
        with runtime_directory(environment) as directory:
            return asyncio.run(_run(wish, resolved, environment, directory, console))
    except HpcsecError as error:
        console.write(f"hpcsec access run: {error}")
        return CANNOT_START


def become(subject: Subject, caller: Mapping[str, str]) -> dict[str, str]:
    """Root becomes the user; others stay who they are. The environment for the command."""
    if os.geteuid() != 0 or subject.uid == 0:
        return dict(caller)
    try:
        os.initgroups(subject.user, subject.gid)
        os.setgid(subject.gid)
        os.setuid(subject.uid)
    except (OSError, OverflowError) as error:
        raise Unavailable(f"{subject.user} has no account here to run the command under ({error}).") from error
    return {**caller, "HOME": subject.home, "USER": subject.user, "LOGNAME": subject.user}


def make_plan(resolved: Resolved, environment: Mapping[str, str], directory: RuntimeDirectory) -> Plan:
    """The plan for this computer, checked against its kernel."""
    mine = msgspec.structs.replace(resolved, code=Code(unsafe_any=True))  # tried out, by whoever has the code
    made = plan.compile(mine, system.find(mine, environment, runtime=directory.path))
    requirements(made)
    return made


async def _run(
    wish: Run, resolved: Resolved, environment: Mapping[str, str], directory: RuntimeDirectory, console: Console
) -> int:
    made = make_plan(resolved, environment, directory)
    if wish.says:
        console.write(plan.describe(made))
    program = shutil.which(wish.command[0], path=environment.get("PATH", os.defpath)) or wish.command[0]
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal's interrupt is for the command
    server = await start_server(
        [program, *wish.command[1:]],
        environment,
        plan=made,
        interactive=True,
        on_refused=lambda pid: console.write(f"hpcsec access run: process {pid} was refused to listen on the network"),
    )
    try:
        if wish.says:
            console.write("\n".join(f"{name}: {fact}" for name, fact in server.receipt.items()))
        status = await server.wait()
    finally:
        server.close()
    return status if status >= 0 else 128 - status


def words(command: Sequence[str]) -> tuple[str, ...]:
    """The command behind the ``--`` that separates it."""
    return tuple(command[1:] if command[:1] == ["--"] else command)
