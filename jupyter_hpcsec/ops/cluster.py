"""The development cluster: a real munge, slurmctld and two slurmd on one machine, each node in its own namespaces.

For tests, for ``quickstart --slurm`` and for trying an installation. Everything needs root. It is no production
cluster: the nodes share this machine's kernel, its disk and its accounts (``docs/cluster.md``).
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import HpcsecError, Malformed, Unavailable
from jupyter_hpcsec.ops import cluster_environment as environments
from jupyter_hpcsec.ops import cluster_system as system
from jupyter_hpcsec.ops.cluster_parts import Parts, bridge_owner, in_netns, node_processes, remove_netns_mount
from jupyter_hpcsec.ops.cluster_plan import (
    BRIDGE,
    DEFAULT_STATE,
    USERS,
    Cgroup,
    Plan,
    Settings,
    choose_cgroup,
    parse_counters,
)
from jupyter_hpcsec.ops.cluster_warnings import warnings

Say = Callable[[str], None]


@dataclass(frozen=True)
class PartStatus:
    """One line of ``status``. ``state``: ``green``, ``red`` (does not work) or ``warning`` (works, less protected)."""

    name: str
    state: str
    detail: str
    fix: str


@dataclass(frozen=True)
class Status:
    """What :meth:`Cluster.status` found."""

    is_up: bool
    """False where there is no cluster at all, which is not the same as a broken one."""
    parts: tuple[PartStatus, ...]
    addresses: dict[str, str]
    slurm_conf: str
    environment: str

    @property
    def ok(self) -> bool:
        """Whether everything works; warnings do not count."""
        return all(part.state != "red" for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """For ``status --json``."""
        return {"ok": self.ok} | asdict(self)


def _silent(words: str) -> None:
    """Progress that nobody wants to see."""


class Cluster:
    """The cluster whose files are below ``state``. There is one at a time on a machine: the names are the machine's.

    Settings left out are those of the cluster that is up, else the defaults. ``environment`` is the virtual
    environment that jobs use; left out, it is chosen by ``cluster_environment.choose``.
    """

    def __init__(
        self,
        state: Path = DEFAULT_STATE,
        *,
        network: str | None = None,
        gateway_port: int | None = None,
        environment: Path | None = None,
        process_tracking: Cgroup | None = None,
    ) -> None:
        self.state = state
        self._wanted_environment = environment
        self._wanted: dict[str, Any] = {}
        if network is not None:
            self._wanted["network"] = network
        if gateway_port is not None:
            self._wanted["gateway_port"] = gateway_port
        if process_tracking is not None:
            self._wanted["cgroup"] = process_tracking

    # --- what it is

    @property
    def plan(self) -> Plan:
        """All names, addresses and files, by the settings in force."""
        recorded = self._recorded()
        known = vars(recorded) if recorded else {}
        return Plan(self.state, socket.gethostname(), Settings(**(known | self._wanted)))

    @property
    def head_address(self) -> str:
        """Where slurmctld and a gateway for the nodes listen (IPv4)."""
        return self.plan.head_address

    @property
    def head_address6(self) -> str:
        """The head's IPv6 address, for the gateway only."""
        return self.plan.head_address6

    @property
    def gateway_port(self) -> int:
        """The one port of the head, besides Slurm's own, that nodes can reach."""
        return self.plan.settings.gateway_port

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(node.name for node in self.plan.nodes)

    @property
    def slurm_conf(self) -> Path:
        """For ``SLURM_CONF`` in the environment of Slurm's commands on the head."""
        return self.plan.configuration / "slurm.conf"

    @property
    def environment(self) -> Path:
        """The virtual environment of jobs. ``Unavailable`` while the cluster is down."""
        name = self.plan.settings.environment
        if not name:
            raise Unavailable("the cluster is down: run `hpcsec cluster up`")
        return Path(name)

    # --- up, down, status

    def up(self, *, say: Say = _silent) -> tuple[str, ...]:
        """Make or mend the cluster; what was changed, in order. Nothing changed is an empty tuple.

        Raises ``HpcsecError`` where something is in the way, naming it and the fix.
        """
        system.require_root()
        with system.machine_lock():
            self._refuse_beside_another()
            changes = self._settle(say)
            for part in Parts(self.plan).all():
                trouble = part.trouble()
                if trouble is None:
                    continue
                say(f"{part.name}: {trouble}")
                part.mend()
                rest = part.trouble()
                if rest is not None:
                    raise Unavailable(f"{part.name}: {rest}. Fix: {part.fix}")
                changes.append(f"{part.name}: mended ({trouble})")
        return tuple(changes)

    def down(self, *, purge: bool = False) -> None:
        """End everything; logs and built environments stay. ``purge``: those go too, and the users that ``up`` made."""
        system.require_root()
        with system.machine_lock():
            self._refuse_beside_another()
            plan = Plan(self.state, socket.gethostname(), Settings())
            parts = Parts(plan)
            parts.stop_processes()
            for node in plan.nodes:
                parts.remove_node(node)
            parts.stop_munge()
            system.run(["ip", "link", "del", BRIDGE], check=False)
            remove_netns_mount()
            for directory in (plan.run, plan.configuration):
                shutil.rmtree(directory, ignore_errors=True)
            self._record.unlink(missing_ok=True)
            if purge:
                self._purge()

    def status(self) -> Status:
        """Ask every part; nothing is changed."""
        system.require_root()
        plan = self.plan
        found = []
        for part in Parts(plan).all():
            trouble = _ask(part.trouble)
            found.append(
                PartStatus(part.name, "red" if trouble else "green", trouble or "", part.fix if trouble else "")
            )
        found += [PartStatus(w.name, "warning", w.detail, w.fix) for w in warnings(plan)]
        addresses = {"head": plan.head_address, "head6": plan.head_address6} | {n.name: n.address for n in plan.nodes}
        return Status(
            bridge_owner() is not None, tuple(found), addresses, str(self.slurm_conf), plan.settings.environment
        )

    # --- at a node

    def node_command(self, node: str, argv: Sequence[str], *, user: str | None = None) -> list[str]:
        """The command line that runs ``argv`` inside all namespaces of a node, as root or as ``user``."""
        plan = self.plan
        pid = Parts(plan).init_pid(plan.node(node))
        if pid is None:
            raise Unavailable(f"{node} is not up: run `hpcsec cluster up`")
        entry = system.account(user or "root")
        if entry is None:
            raise HpcsecError(f"there is no user {user}")
        # nsenter waits outside for its child inside: one that is ended takes the other along
        become = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--pdeathsig=KILL"]
        become += ["--init-groups"] if user else ["--keep-groups"]
        values = {
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
            "LOGNAME": entry.pw_name,
            "SHELL": entry.pw_shell,
            "PATH": system.PATH,
            "LANG": "C.UTF-8",
            "SLURM_CONF": str(self.slurm_conf),
        }
        variables = [f"{name}={value}" for name, value in values.items()]
        return [
            *("nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"),
            *("setpriv", *become, "--", "env", "-i", f"--chdir={entry.pw_dir}", *variables, *argv),
        ]

    def node_exec(
        self,
        node: str,
        argv: Sequence[str],
        user: str | None = None,
        *,
        stdin: str | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node to its end; its exit status is the caller's to judge."""
        return system.run(self.node_command(node, argv, user=user), check=False, stdin=stdin, timeout_s=timeout_s)

    def counters(self, node: str) -> dict[str, int]:
        """Packets that the node's firewall threw away: ``in_dropped``, ``out_refused``, and ``cut`` while cut off."""
        where = self.plan.node(node)
        return parse_counters(system.run(in_netns(where, ["nft", "-j", "list", "counters"])).stdout)

    # --- playing failure

    def partition(self, node: str) -> None:
        """Cut a node off: every packet to and from it is dropped, in silence, until :meth:`heal`."""
        system.require_root()
        Parts(self.plan).partition(self.plan.node(node))

    def heal(self, node: str) -> None:
        """Undo :meth:`partition`."""
        system.require_root()
        Parts(self.plan).heal(self.plan.node(node))

    def crash(self, node: str) -> None:
        """End all processes of a node at once, as a power failure does; ``up`` starts it again."""
        system.require_root()
        Parts(self.plan).stop_node(self.plan.node(node))

    # --- inside

    @property
    def _record(self) -> Path:
        return self.state / "cluster.json"

    def _recorded(self) -> Settings | None:
        try:
            return Settings.from_json(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def _settle(self, say: Say) -> list[str]:
        """Choose and record the settings that this machine decides; what that changed."""
        self.state.mkdir(parents=True, exist_ok=True)
        trouble = environments.reading_trouble(self.state)
        if trouble:
            raise HpcsecError(f"users must be able to read the state directory: {trouble}")
        try:
            before = self._recorded()
        except Malformed:
            before = None
        wanted = dict(self._wanted)
        wanted.setdefault("cgroup", choose_cgroup(system.mounts(), system.cgroup_root_controllers()))
        wanted |= self._choose_environment(before, say)
        after = Settings(**((vars(before) if before else {}) | wanted))
        Plan(self.state, socket.gethostname(), after)
        if after == before:
            return []
        self._record.write_text(after.to_json(), encoding="utf-8")
        self._record.chmod(0o644)
        return ["settings: recorded"]

    def _choose_environment(self, before: Settings | None, say: Say) -> dict[str, Any]:
        """The environment asked for now, else the one asked for before, else the running one or one like it."""
        given = self._wanted_environment
        if given is None and before is not None:
            stays = before.environment_given or before.environment == sys.prefix
            if stays and environments.way_trouble(Path(before.environment)) is None:
                return {}  # looked at in full when it was chosen
        chosen = environments.choose(given, self.state / "environments", say=say)
        return {"environment": str(chosen), "environment_given": given is not None}

    def _refuse_beside_another(self) -> None:
        """There is another cluster, and it lives: refuse. Leftovers of a dead one are cleared by mending."""
        owner = bridge_owner()
        if owner in {None, "", str(self.state)}:
            return
        alive = any(node_processes(node) for node in self.plan.nodes)
        if alive or system.processes_of("slurmctld", f"{owner}/etc/slurm.conf"):
            raise HpcsecError(f"another cluster is up: run `hpcsec cluster down --state {owner}` first")

    def _purge(self) -> None:
        for name in USERS:
            entry = system.account(name)
            if entry is not None and system.was_created(entry):
                system.remove_user(name)
        shutil.rmtree(self.state, ignore_errors=True)


def _ask(trouble: Callable[[], str | None]) -> str | None:
    """A part that can't even be asked is red."""
    try:
        return trouble()
    except HpcsecError as error:
        return error.reason
