"""The development cluster's dealings with this machine: commands, processes, namespaces, cgroups, accounts.

A thin shell: it decides nothing. Processes are found by what they are (namespace, command line), never by a pid
that a file remembers, so that leftovers of a dead session are found and nobody else's process is ended.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from jupyter_hpcsec.access.mountinfo import Mount, parse, read
from jupyter_hpcsec.errors import HpcsecError, Unavailable
from jupyter_hpcsec.ops.cluster_plan import CGROUP_ROOT, USER_MARK, cgroup_mounts

NETNS_DIRECTORY = Path("/run/netns")
LOCK = Path("/run/hpcsec-cluster.lock")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMANDS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "useradd": "passwd",
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
}
"""Command -> Debian package."""

Completed = subprocess.CompletedProcess[str]


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 60,
) -> Completed:
    """Run a command to its end; output as text. With ``check``, a failure is ``Unavailable`` with its last words."""
    try:
        done = subprocess.run(
            list(argv),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            input="" if stdin is None else stdin,
            env={"PATH": PATH, "LANG": "C.UTF-8", **(env or {})},
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"`{' '.join(argv[:4])}` could not be run to its end: {exc}") from exc
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-200:]
        raise Unavailable(f"`{' '.join(argv[:6])}` failed ({done.returncode}): {words}")
    return done


def has_command(name: str) -> bool:
    """Whether a program of that name is installed."""
    return shutil.which(name, path=PATH) is not None


def as_user(name: str) -> list[str]:
    """The words before a command that runs as a system user, with that user's groups and root's rights gone."""
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "--"]


def start_daemon(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> None:
    """Start a program that outlives this one: own session, parent is the machine's init, output to ``log``."""
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *argv],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"PATH": PATH, "LANG": "C.UTF-8", **env},
        )


def wait_for(condition: Callable[[], bool], *, within_s: float) -> bool:
    """Ask until the answer is yes; False when the time is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """One change at a time on this machine: the bridge's and namespaces' names are the machine's."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Unavailable("another `hpcsec cluster` is changing the cluster now: try again in a moment") from exc
        yield


def mounts() -> tuple[Mount, ...]:
    """This machine's mounts, as this process sees them."""
    return parse(read())


# --- processes


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def processes_in_netns(path: Path) -> list[int]:
    """Pids (of this pid namespace) whose network namespace is the one at ``path``; nothing when there is none."""
    try:
        wanted = path.stat()
    except OSError:
        return []
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            own = Path(f"/proc/{pid}/ns/net").stat()
            if (own.st_dev, own.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.append(pid)
    return found


def _namespace_pids(pid: int) -> list[str]:
    """The process's pid in our and in each lower pid namespace it is in (``NSpid``, proc(5)); empty when gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("NSpid:"):
                return line.split()[1:]
    return []


def is_in_lower_namespace(pid: int) -> bool:
    """Whether a process is in a pid namespace below ours, so a node's or a container's."""
    return len(_namespace_pids(pid)) > 1


def is_init(pid: int) -> bool:
    """Whether a process is pid 1 of a pid namespace just below ours."""
    numbers = _namespace_pids(pid)
    return len(numbers) == 2 and numbers[1] == "1"


def command_line(pid: int) -> list[str]:
    """A process's arguments; empty for a zombie, a kernel thread or one that is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").rstrip("\0").split("\0") if raw else []


def processes_of(program: str, *arguments: str) -> list[int]:
    """Pids whose program has that base name and whose command line holds all these arguments."""
    found = []
    for pid in _pids():
        words = command_line(pid)
        if words and Path(words[0]).name == program and set(arguments) <= set(words):
            found.append(pid)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has died and waits for its parent does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in {"Z", "X"}


def end_processes(pids: Sequence[int], *, grace_s: float) -> None:
    """TERM, then KILL after ``grace_s``; ``Unavailable`` when one is still there after that."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait_for(lambda: not any(is_alive(pid) for pid in pids), within_s=patience_s):
            return
    raise Unavailable(f"processes {[pid for pid in pids if is_alive(pid)]} can't be ended")


# --- cgroups


def cgroup_directories(node: str) -> list[Path]:
    """The node's directory in each cgroup hierarchy of this machine, existing or not."""
    return [Path(mount.point) / f"hpcsec-{node}" for mount in cgroup_mounts(mounts())]


def remove_cgroups(node: str) -> None:
    """Remove the node's cgroup directories with all below; the kernel lets go of them a little late."""

    def gone() -> bool:
        for top in cgroup_directories(node):
            below = sorted(top.rglob("*"), reverse=True) if top.exists() else []
            for directory in [*(path for path in below if path.is_dir()), top]:
                with contextlib.suppress(OSError):
                    directory.rmdir()
        return not any(top.exists() for top in cgroup_directories(node))

    if not wait_for(gone, within_s=10):
        left = next(str(top) for top in cgroup_directories(node) if top.exists())
        raise Unavailable(f"the cgroup {left} can't be removed: `cat {left}/cgroup.procs` shows who is in it")


def cgroup_root_controllers() -> str:
    """Names of the controllers at the root of a pure cgroup v2; empty where there is none."""
    path = CGROUP_ROOT / "cgroup.controllers"
    return path.read_text(encoding="utf-8") if path.exists() else ""


# --- accounts


def account(name: str) -> pwd.struct_passwd | None:
    """The account of that name; None where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def create_user(name: str) -> None:
    """A user with a private home and no password."""
    run(["useradd", "--create-home", "--shell", "/bin/bash", "--comment", USER_MARK, name])
    entry = account(name)
    if entry is None:
        raise Unavailable(f"useradd made no user {name}")
    Path(entry.pw_dir).chmod(0o700)


def was_created(entry: pwd.struct_passwd) -> bool:
    """Whether :func:`create_user` made this account."""
    return entry.pw_gecos.split(",")[0] == USER_MARK


def remove_user(name: str) -> None:
    """Remove a user that :func:`create_user` made; ``HpcsecError`` for any other."""
    entry = account(name)
    if entry is None or not was_created(entry):
        raise HpcsecError(f"the user {name} was not created by this command and is left alone")
    run(["userdel", "--remove", name])


def require_root() -> None:
    """``HpcsecError`` for anybody else."""
    if os.geteuid() != 0:
        raise HpcsecError("the development cluster makes namespaces and users: run `sudo hpcsec cluster …`")
