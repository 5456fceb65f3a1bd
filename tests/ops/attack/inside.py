"""Run a command in the sandbox, by the values that a session's would have. Run as a program, as the user.

Arguments: the world's directory, the session's own directory, what may be bound, and the command.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import msgspec

from jupyter_hpcsec.access import plan
from jupyter_hpcsec.access.sandbox import requirements
from jupyter_hpcsec.access.system import find
from jupyter_hpcsec.access.values import Bind, Code, Enforcement, Entry, Network, Resolved, Right, Subject
from jupyter_hpcsec.hub.server_process import start_server
from jupyter_hpcsec.ops.attack.discovery import ACCESS_VARIABLE

WITHOUT = "TEST_WITHOUT_NAMESPACES"
"""Set: as on a node that gives its users none."""


def policy(base: Path, bind: Bind, *, namespaces: bool) -> Resolved:
    """Home to write, but for what lets oneself in; two trees to read, one of them by a mask; one denied in a mask.

    Without namespaces, only what takes no mask.
    """
    plain = {base / "home/work": Right.WRITE, base / "bin": Right.READ, base / "readonly": Right.READ}
    masked = {
        base / "home": Right.WRITE,
        base / "home/.bashrc": Right.READ,
        base / "home/.ssh": Right.NONE,
        base / "home/.config/systemd/user": Right.NONE,
        base / "bin": Right.READ,
        base / "readonly": Right.READ,
        base / "denied": Right.NONE,
        base: Right.READ,
        base / "run": Right.NONE,
        base / "spool": Right.NONE,
    }
    rights = masked if namespaces else plain
    uid, gid = os.geteuid(), os.getegid()
    return Resolved(
        subject=Subject(user="alice", uid=uid, gid=gid, home=str(base / "home")),
        policy="test",
        enforcement=Enforcement.REQUIRED,
        minimum_abi=4,
        network=Network(bind=bind, connect=(443,)),
        entries=tuple(
            Entry(path=str(path), right=right, rule=i, line=i, who="*")
            for i, (path, right) in enumerate(rights.items(), 1)
        ),
        code=Code(unsafe_any=True),
    )


async def run(base: Path, runtime: Path, bind: Bind, command: list[str]) -> int:
    namespaces = WITHOUT not in os.environ
    resolved = policy(base, bind, namespaces=namespaces)
    node = find(resolved, os.environ, runtime=runtime, namespaces=None if namespaces else False)
    compiled = plan.compile(resolved, node)
    requirements(compiled)
    receipt = {} if namespaces else {"files": "the node's root directory"}
    facts = {"rules": msgspec.to_builtins(resolved), "receipt": receipt}
    rules = runtime / "access.json"
    rules.write_text(json.dumps(facts))
    variables = {**os.environ, ACCESS_VARIABLE: str(rules)}
    server = await start_server(command, variables, plan=compiled, cwd=Path.cwd(), interactive=True)
    return await server.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2]), Bind(sys.argv[3]), sys.argv[4:])))
