"""Everything that attempts are aimed at, made for a test: a file tree, a process outside, services, programs, a server.

It belongs to a user of its own, so that what succeeds does so by that user's rights, as it would on a node.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_hpcsec.ops.attack.targets import SERVICES

UID = 61017
"""Nobody else's."""
TOKEN = "0123456789abcdef0123456789abcdef"
VICTIM = Path(__file__).parent / "victim.py"
INSIDE = Path(__file__).parent / "inside.py"
PROGRAMS = ("sbatch", "srun", "scancel", "squeue", "scontrol", "qstat", "bjobs", "ssh")
SPOOLERS = ("at", "crontab")
BUS = ("systemctl", "systemd-run")


def as_user(uid: int = UID) -> list[str]:
    """Put before a command."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]


@dataclass
class World:
    """The tree and what runs; see ``made``."""

    base: Path
    victim: dict[str, Any] = field(default_factory=dict)
    server: str = ""

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def denied(self) -> Path:
        return self.base / "denied"

    @property
    def readonly(self) -> Path:
        return self.base / "readonly"

    @property
    def mounted_twice(self) -> list[str]:
        """Put before a command: root mounted the denied and the read-only directory inside the home, too."""
        pairs = ((self.denied, self.work / "second"), (self.readonly, self.work / "second-ro"))
        binds = [f"mkdir -p {at} && mount --bind {place} {at}" for place, at in pairs]
        script = " && ".join(["mount --make-rprivate /", *binds, 'exec "$@"'])
        return ["unshare", "--mount", "sh", "-c", script, "sh"]

    @property
    def environment(self) -> dict[str, str]:
        """Of the suite, and of what else runs as the user."""
        return {
            "HOME": str(self.home),
            "PATH": f"{self.base / 'bin'}:/usr/bin:/bin",
            "TMPDIR": str(self.work),
            "LANG": "C.UTF-8",
            "JUPYTER_RUNTIME_DIR": str(self.base / "runtime"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @contextmanager
    def descriptors(self) -> Iterator[list[int]]:
        """Of a denied file, of a directory, and of a socket, as one may come to have them by its start."""
        near, far = socket.socketpair()
        fds = [os.open(self.denied / "secret", os.O_RDONLY), os.open(self.denied, os.O_RDONLY), far.fileno()]
        with near, far:
            yield fds
        for fd in fds[:2]:
            os.close(fd)

    @property
    def options(self) -> list[str]:
        """That name all targets."""
        protected = [self.home / name for name in (".ssh", ".config/systemd/user")]
        return [
            f"--denied={self.denied}",
            f"--denied={self.denied / 'secret'}",
            *(f"--denied={path}" for path in protected),
            f"--readonly={self.readonly}",
            f"--readonly={self.readonly / 'data.txt'}",
            f"--readonly={self.home / '.bashrc'}",
            f"--allowed={self.work}",
            f"--abstract={self.victim['abstract']}",
            f"--shm={self.victim['memory']}",
            f"--queue={self.victim['queue']}",
            *(f"--service={name}={self.base / 'run' / name}" for name in SERVICES),
            *([f"--server={self.server}", f"--token={TOKEN}", f"--root={self.base}"] if self.server else []),
        ]

    def attack(
        self,
        *words: str,
        prefix: Sequence[str] = (),
        user: bool = True,
        bind: str = "",
        inherited: Sequence[int] = (),
        **variables: str,
    ) -> "Report":
        """Run the suite as the user, in the sandbox if what may be bound is given, else outside of any.

        ``prefix`` comes before the command becomes the user's.
        """
        runtime = self.base / ("runtime" if user else "runtime-root")
        sandbox = [sys.executable, str(INSIDE), str(self.base), str(runtime), bind] if bind else []
        command = [sys.executable, "-m", "jupyter_hpcsec.cli.main", "attack", "--json", *self.options, *words]
        done = subprocess.run(
            [*prefix, *(as_user() if user else []), *sandbox, *command],
            env={**self.environment, **variables},
            pass_fds=inherited,
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return Report(done.returncode, json.loads(done.stdout))


@dataclass(frozen=True)
class Report:
    """What the suite printed."""

    status: int
    values: dict[str, Any]

    @property
    def attempts(self) -> dict[str, dict[str, str]]:
        return {one["id"]: one for one in self.values["attempts"]}


@contextmanager
def made() -> Iterator[World]:
    """Make a world, and take it away with all that runs in it."""
    base = Path(tempfile.mkdtemp(prefix="hpcsec-", dir="/tmp"))
    try:
        _fill(base)
        world = World(base)
        with _victim(world) as facts:
            world.victim = facts
            yield world
    finally:
        shutil.rmtree(base)


def _fill(base: Path) -> None:
    for name in ("home/work", "home/.ssh", "home/.config/systemd/user", "denied", "readonly/sub", "run", "runtime"):
        (base / name).mkdir(parents=True)
    (base / "bin").mkdir()
    (base / "spool").mkdir()
    (base / "home/.bashrc").write_text("# mine\n")
    shutil.copy("/bin/true", base / "denied/secret")
    shutil.copytree(base / "denied", base / ".snapshot/daily/denied")  # as some file systems show it
    (base / "readonly/data.txt").write_text("data\n")
    (base / "readonly/sub/child.txt").write_text("child\n")
    _programs(base)
    base.chmod(0o755)
    if os.geteuid() == 0:
        (base / "runtime-root").mkdir(mode=0o700)
        for path in (base, *base.rglob("*")):
            if path.name != "runtime-root":
                os.chown(path, UID, UID, follow_symlinks=False)


def _programs(base: Path) -> None:
    """Stand-ins that need what the real ones need: a service's socket, a port, or a spool."""
    reach = base / "bin/reach.py"
    reach.write_text(
        textwrap.dedent(f"""
        import json, pathlib, socket, sys
        base, what = pathlib.Path({str(base)!r}), sys.argv[1]
        if what == "spool":
            (base / "spool/job").touch()
        else:
            socket.socket(socket.AF_UNIX).connect(str(base / "run" / what))
            if what == "munge":
                port = json.loads((base / "bin/facts").read_text())["port"]
                socket.create_connection(("127.0.0.1", port), 5)
        """)
    )
    kinds = {"munge": PROGRAMS, "spool": SPOOLERS, "systemd-user": BUS}
    for what, names in kinds.items():
        for name in names:
            path = base / "bin" / name
            path.write_text(f"#!/bin/sh\nexec /usr/bin/python3 -I -S {reach} {what}\n")
            path.chmod(0o755)


SECRETS = {"JUPYTERHUB_API_TOKEN": TOKEN, "HPCSEC_GATEWAY": "gateway.example:8443"}
"""What must not be in a session's environment."""


@contextmanager
def _victim(world: World) -> Iterator[dict[str, Any]]:
    """A process that the suite takes for the agent, by its command line."""
    command = [sys.executable, "-I", str(VICTIM), str(world.base / "run"), "jupyter_hpcsec.hub.launch", *SERVICES]
    variables = {**world.environment, "JUPYTERHUB_API_TOKEN": TOKEN}
    with subprocess.Popen(
        [*as_user(), *command],
        env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout and process.stdin
        try:
            facts = json.loads(process.stdout.readline())
            (world.base / "bin/facts").write_text(json.dumps(facts))
            yield {**facts, "pid": process.pid}
        finally:
            process.stdin.close()
            process.wait(timeout=60)


@contextmanager
def jupyter_server(world: World, prefix: Sequence[str] = ()) -> Iterator[str]:
    """A Jupyter server of the user's, without anything of ours unless ``prefix`` brings it; its socket."""
    path = world.work / "j.sock"
    command = [
        sys.executable, "-m", "jupyter_server", f"--ServerApp.sock={path}", f"--ServerApp.root_dir={world.base}",
        f"--IdentityProvider.token={TOKEN}", "--ServerApp.open_browser=False", "--ServerApp.terminals_enabled=True",
        "--ContentsManager.allow_hidden=True", "--ServerApp.disable_check_xsrf=True",
        "--KernelManager.transport=ipc",
    ]  # fmt: skip
    log = world.work / "server.log"
    with log.open("w") as output, subprocess.Popen(
        [*as_user(), *prefix, *command],
        env=world.environment, cwd=world.work, stdout=output, stderr=output, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _wait_for(path, process, log)
            world.server = str(path)
            yield str(path)
        finally:
            world.server = ""
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=20)


def _wait_for(path: Path, process: "subprocess.Popen[Any]", log: Path) -> None:
    while process.poll() is None:
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(path))
            except OSError:
                time.sleep(0.1)
            else:
                return
    raise AssertionError(log.read_text())
