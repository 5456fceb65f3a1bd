"""A node's life: ``start`` makes its namespaces and becomes its init (pid 1), which runs munged and slurmd.

Run as ``python -I -m jupyter_hpcsec.ops.cluster_node JSON`` by root, never imported by others but for its tests.
The init reaps orphans and ends, and with it the whole node, as soon as one of its two daemons has ended: a node
without them is broken, and ``hpcsec cluster up`` starts it again.
"""

import ctypes
import json
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from jupyter_hpcsec.ops.cluster_plan import CGROUP_ROOT, PRIVATE_DIRECTORIES

# sched.h and sys/mount.h; Python has no names for them before 3.12 (unshare) and at all (mount)
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x0002_0000, 0x0200_0000, 0x0400_0000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x0800_0000, 0x2000_0000, 0x4000_0000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2


@dataclass(frozen=True)
class NodeConfig:
    """What the init needs to know; ``cgroups`` are (mount point, file system, options) of each hierarchy."""

    name: str
    netns: str
    configuration: str
    log: str
    gpus: int
    visible: tuple[str, ...]
    """Directories that stay visible where a private directory would hide them."""
    cgroups: tuple[tuple[str, str, str], ...]

    def to_json(self) -> str:
        """The one argument of this module's command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "NodeConfig":
        """Read what :meth:`to_json` wrote."""
        value = json.loads(text)
        value["visible"] = tuple(value["visible"])
        value["cgroups"] = tuple((where, kind, options) for where, kind, options in value["cgroups"])
        return cls(**value)


_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    arguments = [text.encode() or None for text in (source, target, kind)]
    _call(f"mount {target}", _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None))


def hidden_by(path: str, private: Sequence[str] = PRIVATE_DIRECTORIES) -> bool:
    """Whether a private directory mounted over the machine's would hide ``path``."""
    return any(Path(path).is_relative_to(directory) for directory in private)


def start(config: NodeConfig) -> None:
    """Make the namespaces and leave an init in them; return when its daemons were started, else raise ``OSError``.

    The order matters: the cgroups are joined first, because the cgroup namespace's root is where one stands when it
    is made; the pid namespace holds only children, hence the fork.
    """
    for path, _, _ in config.cgroups:
        (Path(path) / f"hpcsec-{config.name}" / "cgroup.procs").write_text(str(os.getpid()))
    with Path(config.netns).open("rb") as netns:
        _call("setns", _libc.setns(netns.fileno(), CLONE_NEWNET))
    flags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    _call("unshare", _libc.unshare(flags))
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _become_init(config, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:  # noqa: PTH123  - a descriptor, not a path
        words = answer.read()
    if words != "started":
        raise OSError(words or "the node's init died while it started")


def _become_init(config: NodeConfig, answer: int) -> NoReturn:
    """The child's whole life. It must not return into the parent's stack."""
    status = 1
    try:
        os.setsid()
        os.chdir("/")
        os.umask(0o022)
        _redirect(config.log)
        _build(config)
        daemons = _start_daemons(config)
        os.write(answer, b"started")
        os.close(answer)
        status = _reap(daemons)
    except OSError as error:
        os.write(answer, str(error).encode())
    finally:
        os._exit(status)


def _redirect(log: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)


def _build(config: NodeConfig) -> None:
    """Everything of the machine that a node must not share: names, processes, temporary directories, devices' list."""
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    socket.sethostname(config.name)
    _libc.umount2(b"/run/netns", MNT_DETACH)  # copies of the mounts would keep dead nodes' networks alive
    _mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount_cgroups(config)
    _mount_private(config)
    _mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,gid=5,mode=620,ptmxmode=666")
    _mount("/dev/pts/ptmx", "/dev/ptmx", flags=MS_BIND)
    for name, target in (("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf"), ("", "/etc/slurm")):
        if Path(target).exists():
            _mount(str(Path(config.configuration) / name), target, flags=MS_BIND)
    gpus = Path("/run/hpcsec")
    gpus.mkdir()
    for number in range(config.gpus):
        os.mknod(gpus / f"gpu{number}", 0o444 | stat.S_IFCHR, os.makedev(1, 3))  # /run is nodev: none can be opened
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _mount_cgroups(config: NodeConfig) -> None:
    """The same hierarchies, seen from the node's own cgroup as their root."""
    if any(path != str(CGROUP_ROOT) for path, _, _ in config.cgroups):
        _mount("tmpfs", str(CGROUP_ROOT), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
    for path, kind, options in config.cgroups:
        Path(path).mkdir(exist_ok=True)
        _mount("cgroup", path, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    if config.cgroups and all(kind == "cgroup2" for _, kind, _ in config.cgroups):
        # v2: processes live in leaves only, or controllers can't be handed down to jobs (kernel's cgroup-v2.rst)
        leaf = CGROUP_ROOT / "init.scope"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text("1")


def _mount_private(config: NodeConfig) -> None:
    """Empty directories of the node's own; what must stay visible below them is carried over by descriptor."""
    kept = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in config.visible if hidden_by(path)}
    for directory in PRIVATE_DIRECTORIES:
        mode = "mode=755" if directory == "/run" else "mode=1777"
        _mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, mode)
    for path, descriptor in kept.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
        os.close(descriptor)


def _start_daemons(config: NodeConfig) -> dict[int, str]:
    """Pid -> name of the two. munged comes first: slurmd can't register without it."""
    socket_directory = Path("/run/munge")
    socket_directory.mkdir(mode=0o755)
    entry = pwd.getpwnam("munge")
    os.chown(socket_directory, entry.pw_uid, entry.pw_gid)
    munged = subprocess.Popen(
        ["munged", "--foreground", "--seed-file=/run/munge/munged.seed"],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
    )
    slurm_conf = Path(config.configuration) / "slurm.conf"
    environment = os.environ | {"SLURM_CONF": str(slurm_conf)}
    slurmd = subprocess.Popen(["slurmd", "-D", "-f", str(slurm_conf), "-N", config.name], env=environment)
    return {munged.pid: "munged", slurmd.pid: "slurmd"}


def _reap(daemons: dict[int, str]) -> int:
    """Wait for children, ours and adopted ones, until a daemon ends or the node is told to stop."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    try:
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid in daemons:
                print(f"{daemons[pid]} ended with {os.waitstatus_to_exitcode(status)}; the node stops", flush=True)
                return 1
    except SystemExit:
        return 0


def main(argv: Sequence[str], run: Callable[[NodeConfig], None] = start) -> int:
    """0 when the node was started; else 1 and the reason on standard error."""
    try:
        run(NodeConfig.from_json(argv[0]))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
