"""Attempts with what a process is given when it starts: descriptors, the terminal, the environment.

What they look at is looked at by name: no value of a secret is kept or shown.
"""

import array
import contextlib
import fcntl
import os
import re
import stat
import struct
import subprocess
import termios
import time
from pathlib import Path

from jupyter_hpcsec.ops.attack.making import DENIED, attempt, collect, descriptor, held, need, opened
from jupyter_hpcsec.ops.attack.processes import on_each
from jupyter_hpcsec.ops.attack.targets import Targets, Victim, is_directory
from jupyter_hpcsec.ops.attack.values import Group, Stop, not_tried

CLOSED = {Stop.DESCRIPTORS: 0}
SCRUBBED = {Stop.ENVIRONMENT: 0}
SECRETS = re.compile(
    r"^(HPCSEC_TOKEN|JUPYTERHUB_API_TOKEN|JPY_API_TOKEN|JUPYTER_TOKEN|CONFIGPROXY_AUTH_TOKEN|JUPYTERHUB_COOKIE_SECRET"
    r"|SLURM_JWT|SSH_AUTH_SOCK)$"
)
TUNNEL = re.compile(r"^(HPCSEC_(GATEWAY|CA)|JUPYTERHUB_(API_URL|ACTIVITY_URL|SERVICE_URL|CLIENT_ID|OAUTH_.*))$")


def _files(t: Targets) -> list[int]:
    """Inherited descriptors of files and directories."""
    return [fd for fd in t.inherited if stat.S_IFMT(os.fstat(fd).st_mode) in {stat.S_IFREG, stat.S_IFDIR}]


def _none() -> str:
    raise PermissionError(9, "no such descriptor came with the start")


@attempt(Group.DESCRIPTORS, "file", "Use an inherited file", CLOSED)
def file(t: Targets) -> str:
    """Read by any descriptor above 2 of a file or directory that was open when this program started."""
    for fd in _files(t):
        with contextlib.suppress(OSError):
            return f"descriptor {fd}: {held(fd)}"
    return _none()


@attempt(Group.DESCRIPTORS, "directory", "Climb from an inherited directory", {**CLOSED, Stop.LANDLOCK: 1})
def directory(t: Targets) -> str:
    """From any descriptor of a directory that was open at the start, go up and down to the denied path."""
    denied = need(t.denied, DENIED)
    for fd in _files(t):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return opened("../" * 16 + str(denied).lstrip("/"), dir_fd=fd)
    return _none()


@attempt(Group.DESCRIPTORS, "socket", "Use an inherited socket", CLOSED)
def socket(t: Targets) -> str:
    """Any connected socket above 2 that was open when this program started."""
    for fd in t.inherited:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            return f"descriptor {fd} is a socket"
    return _none()


@attempt(Group.DESCRIPTORS, "victim", "Open what a process outside has open", {Stop.LANDLOCK: 1})
def of_victim(t: Targets) -> str:
    """Open any of the agent's or server's files by /proc/PID/fd/N."""

    def act(victim: Victim) -> str:
        for path in Path(f"/proc/{victim.pid}/fd").iterdir():
            with contextlib.suppress(OSError), descriptor(path, os.O_RDONLY | os.O_NONBLOCK):
                return f"opened its descriptor {path.name}"
        raise PermissionError(13, "none of its descriptors could be opened")

    return on_each(t, act)


@attempt(Group.DESCRIPTORS, "terminal", "Type into a terminal", {Stop.SECCOMP: 0})
def terminal(_t: Targets) -> str:
    """TIOCSTI on a terminal of the suite's own; on an inherited one it would give commands to the shell outside."""
    _, slave = os.openpty()  # both ends end with this process: a closed one would hang up on it
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    fcntl.ioctl(slave, termios.TIOCSTI, b"x")
    waiting = array.array("i", [0])
    fcntl.ioctl(slave, termios.FIONREAD, waiting)
    return "a character was typed"


@attempt(Group.ENVIRONMENT, "own-tokens", "Find a token in the environment", SCRUBBED)
def own_tokens(_: Targets) -> str:
    """Look in the own environment, as it was at the start, for variables that hold tokens."""
    return _named(Path("/proc/self/environ").read_bytes(), SECRETS)


@attempt(Group.ENVIRONMENT, "tunnel", "Find the tunnel in the environment", SCRUBBED)
def tunnel(_: Targets) -> str:
    """Look for variables that say where gateway and Hub API are."""
    return _named(Path("/proc/self/environ").read_bytes(), TUNNEL)


@attempt(Group.ENVIRONMENT, "others-tokens", "Find a token in another process", {Stop.LANDLOCK: 1, **SCRUBBED})
def others_tokens(_: Targets) -> str:
    """Look in the environment of every process that lets its own be read."""
    seen = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            names = _matching(path.read_bytes(), SECRETS)
            seen += 1
            if names:
                return f"{', '.join(names)} of process {path.parent.name}"
    raise PermissionError(13, f"none in the {seen} that can be read")


def _matching(environ: bytes, names: re.Pattern[str]) -> list[str]:
    variables = (entry.split(b"=", 1) for entry in environ.split(b"\0") if b"=" in entry)
    return [name.decode(errors="replace") for name, value in variables if value and names.match(os.fsdecode(name))]


def _named(environ: bytes, names: re.Pattern[str]) -> str:
    found = _matching(environ, names)
    if not found:
        raise PermissionError(2, "no such variable")
    return ", ".join(found)


@attempt(Group.ENVIRONMENT, "ssh-keys", "Let oneself in by ssh, outside", {Stop.MOUNTS: 0, Stop.LANDLOCK: 1})
def ssh_keys(t: Targets) -> str:
    """Open ~/.ssh for a new file: a key there would open the node past the gateway."""
    return _persists(t, ".ssh")


@attempt(Group.ENVIRONMENT, "login-files", "Leave a program for the next login", {Stop.MOUNTS: 0, Stop.LANDLOCK: 1})
def login_files(t: Targets) -> str:
    """Open ~/.bashrc or ~/.profile for writing: the next login runs them outside of any session."""
    return _persists(t, ".bashrc", ".bash_profile", ".profile", ".zshrc")


@attempt(Group.ENVIRONMENT, "user-units", "Leave a service for the user's systemd", {Stop.MOUNTS: 0, Stop.LANDLOCK: 1})
def user_units(t: Targets) -> str:
    """Open ~/.config/systemd/user for a new file: the next login runs it outside of any session."""
    return _persists(t, ".config/systemd/user")


def _persists(t: Targets, *names: str) -> str:
    """Only what the policy protects is tried: the rest is the policy's decision."""
    home = need(t.home, "no home directory is known")
    for name in names:
        path = home / name
        if not any(path == other or other in path.parents for other in t.protected):
            continue
        with descriptor(path, os.O_WRONLY | os.O_TMPFILE if is_directory(path) else os.O_WRONLY):
            pass
        return f"~/{name} was opened for writing"
    return not_tried(f"the policy lets this session write ~/{names[0]}: deny it, or leave it only to read")


@attempt(Group.ENVIRONMENT, "python-start", "Run before the sandbox by Python's own files", {Stop.ENVIRONMENT: 0})
def python_start(t: Targets) -> str:
    """Start Python as the agent was started, with PYTHONPATH, PYTHONSTARTUP and the user's site-packages set."""
    agent = next((victim for victim in t.victims if victim.role == "agent"), None)
    if agent is None:
        not_tried("the agent is not to be seen")
    words = Path(f"/proc/{agent.pid}/cmdline").read_bytes().split(b"\0")
    flags = [os.fsdecode(word) for word in words[1:] if word.startswith(b"-") and word not in {b"-m", b"-c"}]
    marker, place = t.scratch / "ran", t.scratch / "site"
    place.mkdir()
    for name in ("sitecustomize.py", "usercustomize.py"):
        (place / name).write_text(f"open({str(marker)!r}, 'w').close()\n", encoding="utf-8")
    subprocess.run(
        [os.fsdecode(words[0]), *flags, "-c", "pass"],
        env={"PATH": os.defpath, "PYTHONPATH": str(place), "HOME": str(t.scratch)},
        check=False,
        timeout=20,
    )
    if not marker.exists():
        raise PermissionError(1, f"python {' '.join(flags)} ran none of it")
    return "a file of the user's ran before the agent's code"


@attempt(
    Group.ENVIRONMENT,
    "set-user-id",
    "Gain rights by a set-user-id program",
    {Stop.NO_NEW_PRIVILEGES: 0, Stop.MOUNTS: 0},
)
def set_user_id(_: Targets) -> str:
    """Start su, which waits for a password, and look whether it became root."""
    program = next((path for path in ("/usr/bin/su", "/bin/su") if os.access(path, os.X_OK)), None)
    if program is None or os.geteuid() == 0:
        not_tried("su is not here" if program is None else "this is root already")
    reader, writer = os.pipe()
    with subprocess.Popen([program], stdin=reader, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        became_root = any(_is_root(child.pid) for _ in range(20))
        os.close(writer)
        child.kill()
    if not became_root:
        raise PermissionError(1, "it ran with the user's own rights")
    return "it ran as root"


def _is_root(pid: int) -> bool:
    """Whether a process that was just started is root by now; waits for it a little."""
    found = re.search(r"^Uid:\t\d+\t(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    if found is None or found[1] != "0":
        time.sleep(0.05)
        return False
    return True


@attempt(Group.ENVIRONMENT, "capabilities", "Have a capability", {Stop.CAPABILITIES: 0}, privileged=True)
def capabilities(_: Targets) -> str:
    """Read which capabilities are effective, and which could still be gained."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(re.findall(r"^CapEff:\t(\w+)", status, re.MULTILINE)[0], 16)
    if not effective:
        raise PermissionError(1, "none is effective")
    return f"{struct.pack('>Q', effective).hex()}"


ATTEMPTS = collect(vars())
