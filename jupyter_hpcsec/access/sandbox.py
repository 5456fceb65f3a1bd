"""The sandbox of a session's server: applied by the process that then becomes the server.

Run as ``python -I -m jupyter_hpcsec.access.sandbox CHANNEL PARENT -- PROGRAM…`` by whoever starts a session
(``hub.server_process``), with an empty environment. ``CHANNEL`` is the number of an inherited seqpacket socket over
which the plan and the program's environment come (``channel``), and this process's words go, one JSON object a packet:
``{"guard": true}`` with the filter's descriptor; ``{"receipt": {…}}`` with what is enforced, each part tried after it
was applied; end of file when the program runs; ``{"error": "…"}`` instead, when it does not. Nothing is ever skipped.

1. Die with the parent; close what was inherited; see whose the code is (``code``). 2. Namespaces and a root of the
session's own (``mounts``). 3. Give up every privilege. 4. Landlock. 5. seccomp. 6. The canary. 7. The receipt, and
become the program.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jupyter_hpcsec.access import canary, code, landlock, mounts, receipt, seccomp
from jupyter_hpcsec.access.channel import receive_plan, say
from jupyter_hpcsec.access.landlock import Below, Fs, Net, Ports, Ruleset
from jupyter_hpcsec.access.places import nearest
from jupyter_hpcsec.access.prctl import SET_DUMPABLE, SET_NO_NEW_PRIVS, SET_PDEATHSIG, drop_capabilities, prctl
from jupyter_hpcsec.access.search_path import leave_working_directory
from jupyter_hpcsec.access.values import Bind, Enforcement, Plan, Right
from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable

CANNOT_START = 126
"""Exit status of a sandbox that did not come to run its program, as shells have it."""

OUTSIDE_VARIABLES = frozenset(
    (
        "DBUS_SESSION_BUS_ADDRESS",
        "DBUS_SYSTEM_BUS_ADDRESS",
        "XDG_RUNTIME_DIR",
        "SSH_AUTH_SOCK",
        "SSH_AGENT_PID",
        "SLURM_JWT",
    )
)
"""They name, or open, services outside of a session that it has no part in."""


def requirements(plan: Plan) -> None:
    """Say whether this kernel can hold a plan; ``Unavailable`` with what is missing and the way out."""
    version = landlock.abi()
    if plan.enforcement is Enforcement.REQUIRED and version < plan.minimum_abi:
        offers = f"Landlock ABI {version}" if version else "no Landlock (see /sys/kernel/security/lsm)"
        raise Unavailable(
            f"This kernel offers {offers}, the policy requires ABI {plan.minimum_abi}: no session starts on this node. "
            "A later kernel has it, or the admin lowers minimum_abi in the policy."
        )
    try:
        landlock.check(ruleset(plan, version), version)
        seccomp.machine()
    except Unavailable as error:
        raise Unavailable(
            f"{error.reason} A session could reach more here than the policy allows, so it does not start."
        ) from error


def ruleset(plan: Plan, version: int) -> Ruleset:
    """The Landlock layer of a plan, on a kernel that offers ``version``."""
    denied = Net.BIND_TCP if seccomp.is_guarded(plan.network.bind) else landlock.NOTHING
    if plan.enforcement is Enforcement.ADVISORY:
        return Ruleset(denied=denied)
    offers = landlock.known(version)
    if plan.network.bind is not Bind.PRIVATE:  # there, a network of its own leads nowhere else
        denied |= Net.CONNECT_TCP
    below = [Below(root.path, _rights(root.right, devices=root.devices)) for root in plan.roots]
    if plan.namespaces:  # nothing is there but what the plan names
        below.append(Below("/", Fs.READ_DIR))
    return Ruleset(
        denied=denied,
        exceptions=tuple(Ports(port, Net.CONNECT_TCP) for port in plan.network.connect if Net.CONNECT_TCP & denied),
        files=offers.files,
        below=tuple(below),
        scopes=offers.scopes,
    )


def _rights(right: Right, *, devices: bool) -> Fs:
    allowed = landlock.WRITE if right is Right.WRITE else landlock.READ
    return allowed | Fs.IOCTL_DEV if devices else allowed


def arguments(channel: int, parent: int, program: Sequence[str]) -> list[str]:
    """The arguments to Python that lead to ``main`` below."""
    return ["-I", "-m", __spec__.name, str(channel), str(parent), "--", *program]


def environment(base: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """The program's environment: no services of the node, a temporary directory that is there, names by TCP.

    Without UDP the resolver asks by TCP (resolv.conf(5), ``use-vc``).
    """
    made = dict(base)
    if plan.enforcement is Enforcement.REQUIRED:
        made = {name: value for name, value in made.items() if name not in OUTSIDE_VARIABLES}
        writable = [root.path for root in plan.roots if root.right is Right.WRITE]
        if nearest(os.path.realpath(made.get("TMPDIR") or "/tmp"), writable) is None:  # noqa: S108
            made.pop("TMPDIR", None)
        if plan.temporary:
            made.setdefault("TMPDIR", plan.temporary)
    if plan.network.bind is Bind.NONE:
        made["RES_OPTIONS"] = f"{made.get('RES_OPTIONS', '')} use-vc".strip()
    return made


def die_with(parent: int) -> None:
    """Be killed when the parent ends, also if it ended before this was asked for (prctl(2), ``PR_SET_PDEATHSIG``)."""
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise Unavailable("The session's agent ended while its server started.")


def apply(plan: Plan, channel: socket.socket) -> dict[str, str | int]:
    """Restrict this process for good and hand the filter's descriptor over; returns the receipt."""
    version = landlock.abi()
    requirements(plan)
    whose = code.check(plan)
    files, made = _files(plan)
    drop_capabilities()
    prctl(
        SET_DUMPABLE, 1
    )  # the guard looks into this process, too; from here on it holds nothing that others may not see
    prctl(SET_NO_NEW_PRIVS, 1)
    layer = ruleset(plan, version)
    if layer != Ruleset():
        landlock.restrict_thread(layer)
    _filter(plan.network.bind, channel)
    tried = {f"canary.{name}": outcome for name, outcome in canary.try_sockets(plan.network.bind).items()}
    if files is not None:
        tried |= files.check()
    return receipt.make(plan, layer, version, made, whose) | tried


def _files(plan: Plan) -> tuple[canary.FileCanary | None, list[str]]:
    """The mounts of a plan; what will try them, and the directories that had to be made for masks."""
    private = plan.network.bind is Bind.PRIVATE
    required = plan.enforcement is Enforcement.REQUIRED
    files = canary.FileCanary(plan) if required else None
    here = Path.cwd()
    if private or (required and plan.namespaces):
        mounts.enter(private_network=private)
        mounts.no_more_namespaces()
    if files is None:
        return None, []
    if not plan.namespaces:
        if plan.temporary:
            Path(plan.temporary).mkdir(mode=0o700, exist_ok=True)
        return files, []
    files.copy(mounts.clone)
    new_root = mounts.NewRoot(plan)
    new_root.build()
    new_root.become()
    with contextlib.suppress(OSError):  # else it stays in /
        os.chdir(here)
    return files, new_root.made


def _filter(bind: Bind, channel: socket.socket) -> None:
    numbers = seccomp.machine()
    asks = seccomp.is_guarded(bind)
    guard = seccomp.install(seccomp.assemble(seccomp.session_filter(numbers, bind)), numbers, asks=asks)
    if asks:
        say(channel, {"guard": True}, [guard])
        os.close(guard)


def main(argv: Sequence[str]) -> int:
    """Become the program, restricted; returns only if that failed, after saying why on the channel."""
    leave_working_directory()
    if len(argv) < 4 or argv[2] != "--":
        raise Malformed("sandbox: expected CHANNEL PARENT -- PROGRAM…")
    with socket.socket(fileno=int(argv[0])) as channel:
        os.set_inheritable(channel.fileno(), False)
        _close_all_but(channel.fileno())
        try:
            die_with(int(argv[1]))
            plan, base = receive_plan(channel)
            made = apply(plan, channel)
            variables = environment(base, plan)
            _go_home(variables)
            die_with(int(argv[1]))  # again: giving up privileges takes it back
            say(channel, {"receipt": made})
            os.execvpe(argv[3], list(argv[3:]), variables)  # noqa: S606 - without a shell, on purpose
        except (HpcsecError, OSError, ValueError) as error:
            say(channel, {"error": _reason(error, argv[3])})
    return CANNOT_START


def _close_all_but(kept: int) -> None:
    """Descriptors that the parent did not mean to give, or another program gave to it."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _go_home(variables: Mapping[str, str]) -> None:
    """Stay where it was started, if that is still there; else at home; else where everything begins."""
    for directory in (".", variables.get("HOME", "/"), "/"):
        with contextlib.suppress(OSError):
            if directory != "." or Path.cwd() != Path("/"):
                os.chdir(directory)
                return


def _reason(error: Exception, program: str) -> str:
    if isinstance(error, HpcsecError):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return f"{program} is not on this node, or no rule of the policy lets the session see it."
    return f"{program} could not be started: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
