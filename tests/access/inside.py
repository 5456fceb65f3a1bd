"""Runs a program by an ordinary user, without and with a sandbox of given rules, on a tree of that user's."""

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.access import mounts, plan, system
from jupyter_hpcsec.access.sandbox import requirements
from jupyter_hpcsec.access.values import Bind, Code, Enforcement, Entry, Network, Resolved, Right, Subject
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.server_process import start_server
from tests.nobody import NOBODY, prefix

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    """How a program ended: its exit status, what it printed, the receipt or the reason why it did not start."""

    status: int
    out: str
    receipt: dict[str, Any]
    refused: str = ""


@contextmanager
def a_home() -> Iterator[Path]:
    """A directory of the ordinary user, below one that everybody may search."""
    top = Path(tempfile.mkdtemp(prefix="hpcsec-test-", dir="/var/tmp"))
    top.chmod(0o755)
    home = top / "home"
    home.mkdir()
    try:
        yield home
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(top)], check=False)
        shutil.rmtree(top)


def give(top: Path) -> None:
    """Make all of it the ordinary user's."""
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(top)], check=True)


def bound(binds: Sequence[tuple[Path, Path]]) -> list[str]:
    """Put before a command: a node on which root mounted the first of each pair at the second, too."""
    if not binds:
        return []
    script = " && ".join(["mount --make-rprivate /", *(shlex.join(["mount", "--bind", *map(str, b)]) for b in binds)])
    return ["unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh"]


def outside(program: str, *words: str, cwd: Path, binds: Sequence[tuple[Path, Path]] = ()) -> str:
    """What a Python program prints without a sandbox."""
    argv = [*bound(binds), *prefix(), sys.executable, "-c", textwrap.dedent(program), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(
    program: str | Sequence[str],
    *words: str,
    rules: Sequence[tuple[Path, str]],
    cwd: Path,
    binds: Sequence[tuple[Path, Path]] = (),
    python: str = sys.executable,
    **settings: Any,
) -> Done:
    """The same in a sandbox. ``rules``: paths and rights; a ``!`` behind a right: the path is required.

    ``settings``: ``bind``, ``connect``, ``enforcement``, ``minimum_abi``, ``namespaces``, ``environment``,
    ``closed_code``. ``python`` runs both the agent's part and the sandbox.
    """
    argv = [sys.executable, "-c", textwrap.dedent(program)] if isinstance(program, str) else list(program)
    wish = {"argv": [*argv, *words], "rules": [(str(path), right) for path, right in rules], **settings}
    done = subprocess.run(
        [*bound(binds), *prefix(), python, "-m", "tests.access.inside", json.dumps(wish), str(cwd)],
        capture_output=True, text=True, timeout=110, check=False, cwd=ROOT,
    )  # fmt: skip
    *printed, last = done.stdout.split("\n")[:-1] or [""]
    assert last.startswith("{"), done.stdout + done.stderr
    print(done.stderr, file=sys.stderr)
    return Done(**json.loads(last), out="".join(f"{line}\n" for line in printed))


def resolved_of(wish: dict[str, Any], home: str) -> Resolved:
    """The rules of a wish as a policy's answer."""
    entries = tuple(
        Entry(path=path, right=Right(right.rstrip("!")), rule=i, line=i, who="*", required=right.endswith("!"))
        for i, (path, right) in enumerate(wish["rules"], 1)
    )
    return Resolved(
        subject=Subject(user="tester", uid=os.geteuid(), gid=os.getegid(), home=home),
        policy="0" * 64,
        enforcement=Enforcement(wish.get("enforcement", "required")),
        minimum_abi=wish.get("minimum_abi", 4),
        network=Network(bind=Bind(wish.get("bind", "none")), connect=tuple(wish.get("connect", ()))),
        entries=entries,
        code=Code(unsafe_any=not wish.get("closed_code")),
    )


async def _main(wish: dict[str, Any], cwd: Path, runtime: Path) -> dict[str, Any]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), **wish.get("environment", {})}
    resolved = resolved_of(wish, str(cwd))
    namespaces = wish.get("namespaces", not mounts.probe())
    try:
        made = plan.compile(resolved, system.find(resolved, environment, runtime=runtime, namespaces=namespaces))
        requirements(made)
        server = await start_server(wish["argv"], environment, plan=made, cwd=cwd, interactive=True)
    except HpcsecError as error:
        return {"status": 126, "receipt": {}, "refused": error.reason}
    status = await server.wait()
    server.close()
    return {"status": status, "receipt": server.receipt}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hpcsec-", dir="/tmp") as made:
        print(json.dumps(asyncio.run(_main(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(made)))))
