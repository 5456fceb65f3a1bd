"""The parts of the development cluster: for each, what is wrong with it, how it is made, how it goes.

``up`` mends the parts that are in trouble, in their order; ``status`` only asks. A part is green because of what this
machine shows now, never because a file says that it was started.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jupyter_hpcsec
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops import cluster_system as system
from jupyter_hpcsec.ops.cluster_node import NodeConfig
from jupyter_hpcsec.ops.cluster_plan import (
    BRIDGE,
    BRIDGE_MAC,
    CGROUP_ROOT,
    NODE_GOOD,
    NODE_GPUS,
    USERS,
    Cgroup,
    Node,
    Plan,
    cgroup_mounts,
    firewall_trouble,
    hierarchy_options,
    parse_sinfo,
)
from jupyter_hpcsec.ops.cluster_system import run

MUNGE_SOCKET = Path("/run/munge/munge.socket.2")
READY_S = 30.0
MUNGE_MARK = "--seed-file=/run/munge/hpcsec-cluster.seed"
"""The argument by which our munged on the head is told from the machine's own and from the nodes'."""
NODE_MODULE = "jupyter_hpcsec.ops.cluster_node"


@dataclass(frozen=True)
class Part:
    """``trouble()`` says what is wrong, or None; ``mend()`` makes it right; ``fix`` is what a person can do."""

    name: str
    trouble: Callable[[], str | None]
    mend: Callable[[], None]
    fix: str


class Parts:
    """All parts of one plan, in the order in which they stand on each other."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def all(self) -> tuple[Part, ...]:
        """Every part, first what others need."""
        up = "hpcsec cluster up"

        def log(name: str) -> str:
            return f"{up}; the log is {self.plan.logs}/{name}.log"

        parts = [
            Part("programs", _programs_trouble, _no_mend, "apt-get install the packages of debian-packages.txt"),
            Part("users", _users_trouble, _mend_users, up),
            Part("configuration", self._files_trouble, self._mend_files, up),
            Part("bridge", self._bridge_trouble, self._mend_bridge, up),
            Part("munge", _munge_trouble, self._mend_munge, log("munged")),
            Part("slurmctld", self._ctld_trouble, self._mend_ctld, log("slurmctld")),
        ]
        for node in self.plan.nodes:
            network = partial(self._network_trouble, node), partial(self._mend_network, node)
            cable = partial(self._cable_trouble, node), partial(self.heal, node)
            init = partial(self._init_trouble, node), partial(self._mend_init, node)
            parts += [
                Part(f"{node.name} network", *network, up),
                Part(f"{node.name} cable", *cable, f"hpcsec cluster heal {node.name}"),
                Part(f"{node.name} processes", *init, log(node.name)),
            ]
        last = Part("nodes in Slurm", self._slurm_trouble, self._mend_slurm, f"{up}; `sinfo -R` gives Slurm's reason")
        return (*parts, last)

    # --- configuration

    def _files_trouble(self) -> str | None:
        for name, text in self.plan.files().items():
            path = self.plan.configuration / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                return f"{path} is not what is planned"
        return None

    def _mend_files(self) -> None:
        """Write the files; what runs with the old ones is stopped, so that the parts that follow start it anew."""
        self.stop_processes()
        plan = self.plan
        directories = [plan.state, plan.configuration, plan.logs, plan.run, *(plan.run / n.name for n in plan.nodes)]
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
        for directory in (plan.run / "slurmctld", plan.logs / "slurm"):
            directory.mkdir(exist_ok=True)
            shutil.chown(directory, "slurm", "slurm")
            directory.chmod(0o755)
        for name, text in plan.files().items():
            (plan.configuration / name).write_text(text, encoding="utf-8")
            (plan.configuration / name).chmod(0o644)

    # --- network

    def _bridge_trouble(self) -> str | None:
        done = run(["ip", "-o", "addr", "show", "dev", BRIDGE], check=False)
        if done.returncode != 0:
            return f"there is no bridge {BRIDGE}"
        if f" {self.plan.head_address}/" not in done.stdout:
            return f"the bridge {BRIDGE} has not the address {self.plan.head_address}"
        if bridge_owner() != str(self.plan.state):
            return f"the bridge {BRIDGE} is another cluster's"
        return None if ",UP" in run(["ip", "-o", "link", "show", BRIDGE]).stdout else f"the bridge {BRIDGE} is off"

    def _mend_bridge(self) -> None:
        for node in self.plan.nodes:
            self.remove_node(node)
        run(["ip", "link", "del", BRIDGE], check=False)
        # A fixed address: a bridge otherwise takes the lowest of its ports', and nodes would dial one that is gone.
        run(["ip", "link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge"])
        run(["ip", "link", "set", BRIDGE, "alias", str(self.plan.state)])
        length = self.plan.network.prefixlen
        run(["ip", "addr", "add", f"{self.plan.head_address}/{length}", "dev", BRIDGE])
        run(["ip", "-6", "addr", "add", f"{self.plan.head_address6}/64", "dev", BRIDGE, "nodad"], check=False)
        run(["ip", "link", "set", BRIDGE, "up"])

    def _network_trouble(self, node: Node) -> str | None:
        path = netns_path(node)
        if not any(m.point == str(path) and m.kind == "nsfs" for m in system.mounts()):
            return f"there is no network namespace {node.netns}"
        link = run(["ip", "-o", "link", "show", node.veth], check=False).stdout
        if f"master {BRIDGE}" not in link or ",UP" not in link:
            return f"the cable {node.veth} is not plugged into {BRIDGE}"
        inside = run(["ip", "-n", node.netns, "-o", "addr", "show", "up"], check=False).stdout
        if f" {node.address}/" not in inside or " 127.0.0.1/" not in inside:
            return f"it has not the address {node.address}, or no loopback"
        table = run(in_netns(node, ["nft", "-j", "list", "table", "inet", "hpcsec_node"]), check=False)
        if table.returncode != 0:
            return "it has no firewall"
        return firewall_trouble(table.stdout, self.plan.firewall)

    def _mend_network(self, node: Node) -> None:
        """Anew from nothing. The firewall is in force before the cable is plugged in."""
        self.remove_node(node)
        run(["ip", "netns", "add", node.netns])
        run(in_netns(node, ["nft", "-f", str(self.plan.configuration / "node.nft")]))
        run(["ip", "link", "add", node.veth, "type", "veth", "peer", "name", "eth0", "netns", node.netns])
        ip = ["ip", "-n", node.netns]
        run([*ip, "addr", "add", f"{node.address}/{self.plan.network.prefixlen}", "dev", "eth0"])
        run([*ip, "-6", "addr", "add", f"{node.address6}/64", "dev", "eth0", "nodad"], check=False)
        run([*ip, "link", "set", "lo", "up"])
        run([*ip, "link", "set", "eth0", "up"])
        run(["ip", "link", "set", node.veth, "master", BRIDGE, "up"])

    def _cable_trouble(self, node: Node) -> str | None:
        if not netns_path(node).exists():
            return "it has no network"
        cut = run(in_netns(node, ["nft", "list", "table", "inet", "hpcsec_cut"]), check=False).returncode == 0
        return "it was cut off by `hpcsec cluster partition`" if cut else None

    def partition(self, node: Node) -> None:
        """Drop every packet of the node, ahead of its firewall."""
        run(in_netns(node, ["nft", "-f", str(self.plan.configuration / "cut.nft")]))

    def heal(self, node: Node) -> None:
        """Undo :meth:`partition`; nothing happens to a node that was not cut off."""
        if self._cable_trouble(node):
            run(in_netns(node, ["nft", "delete", "table", "inet", "hpcsec_cut"]))

    def remove_node(self, node: Node) -> None:
        """Its processes, cgroups, cable and namespace; nothing happens for what is not there."""
        path = netns_path(node)
        self.stop_node(node)
        run(["ip", "link", "del", node.veth], check=False)
        if path.exists():
            run(["ip", "netns", "del", node.netns], check=False)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # a plain file of that name, left where a machine was restored

    # --- munge and slurmctld on the head

    def _mend_munge(self) -> None:
        self.stop_munge()
        if [p for p in system.processes_of("munged") if not system.is_in_lower_namespace(p)]:
            raise Unavailable("this machine's own munged runs and does not answer: restart it, then try again")
        shutil.rmtree(MUNGE_SOCKET.parent, ignore_errors=True)
        if not Path("/etc/munge/munge.key").exists():
            run([*system.as_user("munge"), "mungekey", "--create"])
        MUNGE_SOCKET.parent.mkdir(exist_ok=True)
        shutil.chown(MUNGE_SOCKET.parent, "munge", "munge")
        MUNGE_SOCKET.parent.chmod(0o755)
        argv = [*system.as_user("munge"), "munged", "--foreground", MUNGE_MARK]
        system.start_daemon(argv, log=self.plan.logs / "munged.log", env={})
        system.wait_for(lambda: _munge_trouble() is None, within_s=READY_S)

    def stop_munge(self) -> None:
        """End the munged that we started; the machine's own stays."""
        pids = system.processes_of("munged", MUNGE_MARK)
        if pids:
            system.end_processes(pids, grace_s=5)
            shutil.rmtree(MUNGE_SOCKET.parent, ignore_errors=True)

    def _ctld_pids(self) -> list[int]:
        return system.processes_of("slurmctld", str(self.plan.configuration / "slurm.conf"))

    def _ctld_trouble(self) -> str | None:
        if not self._ctld_pids():
            return "it does not run"
        return None if self._ctld_answers() else "it runs and does not answer"

    def _ctld_answers(self) -> bool:
        return self.slurm(["scontrol", "ping"]).returncode == 0

    def _mend_ctld(self) -> None:
        system.end_processes(self._ctld_pids(), grace_s=10)
        conf = str(self.plan.configuration / "slurm.conf")
        # It binds to what this machine's name resolves to, often 127.0.0.1: in its view the name is the head's address.
        hosts = str(self.plan.configuration / "hosts")
        argv = ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
        argv += [*system.as_user("slurm"), "slurmctld", "-D", "-i", "-f", conf]
        log = self.plan.logs / "slurmctld.log"
        system.start_daemon(["unshare", "--mount", *argv], log=log, env={"SLURM_CONF": conf})
        system.wait_for(lambda: bool(self._ctld_pids()) and self._ctld_answers(), within_s=READY_S)

    def slurm(self, argv: Sequence[str]) -> system.Completed:
        """A Slurm command on the head, as root; its exit status is the caller's to judge."""
        conf = str(self.plan.configuration / "slurm.conf")
        return run(argv, check=False, env={"SLURM_CONF": conf}, timeout_s=READY_S)

    # --- a node's processes

    def init_pid(self, node: Node) -> int | None:
        """The pid, on this machine, of the node's init."""
        return next((p for p in system.processes_in_netns(netns_path(node)) if system.is_init(p)), None)

    def _init_trouble(self, node: Node) -> str | None:
        pids = system.processes_in_netns(netns_path(node))
        init = self.init_pid(node)
        if init is None:
            return "it has no init"
        names = {Path(words[0]).name for pid in pids if system.is_alive(pid) and (words := system.command_line(pid))}
        missing = sorted({"munged", "slurmd"} - names)
        if missing:
            return f"{' and '.join(missing)} ended"
        environment = self.plan.settings.environment
        return None if os.path.lexists(f"/proc/{init}/root{environment}") else f"it can't see {environment}"

    def _mend_init(self, node: Node) -> None:
        self.stop_node(node)
        mounts = () if self.plan.settings.cgroup is Cgroup.NONE else cgroup_mounts(system.mounts())
        if mounts:
            make_cgroups(node, self.plan.settings.cgroup)
        source = str(Path(jupyter_hpcsec.__file__).parents[1])  # of an editable install, outside of its environment
        visible = {str(self.plan.state), self.plan.settings.environment, sys.prefix, sys.base_prefix, source}
        config = NodeConfig(
            name=node.name,
            netns=str(netns_path(node)),
            configuration=str(self.plan.configuration),
            log=str(self.plan.logs / f"{node.name}.log"),
            gpus=NODE_GPUS,
            visible=tuple(sorted(path for path in visible if path)),
            cgroups=tuple((m.point, m.kind, hierarchy_options(m)) for m in mounts),
        )
        run([sys.executable, "-I", "-m", NODE_MODULE, config.to_json()])

    def stop_node(self, node: Node) -> None:
        """End all processes of a node, as a power failure does; its network stays."""
        system.end_processes(node_processes(node), grace_s=0)
        system.remove_cgroups(node.name)

    def stop_processes(self) -> None:
        """The nodes' processes and slurmctld; munge and the network stay."""
        for node in self.plan.nodes:
            self.stop_node(node)
        system.end_processes(self._ctld_pids(), grace_s=10)

    # --- the whole

    def node_states(self) -> dict[str, str]:
        """Node -> Slurm's state of it, such as ``idle`` or ``down*``."""
        return parse_sinfo(self.slurm(["sinfo", "-h", "-N", "-o", "%N %T"]).stdout)

    def _slurm_trouble(self) -> str | None:
        if not self._ctld_pids():
            return "slurmctld does not run"  # Slurm's commands would wait for it
        states = self.node_states()
        bad = [f"{n.name} is {states.get(n.name, 'unknown')}" for n in self.plan.nodes
               if states.get(n.name) not in NODE_GOOD]  # fmt: skip
        return ", ".join(bad) or None

    def _mend_slurm(self) -> None:
        """Nodes register by themselves; one that Slurm gave up, or that was drained, is taken back."""
        for name, state in self.node_states().items():
            if state.startswith(("down", "drain", "fail")):
                self.slurm(["scontrol", "update", f"NodeName={name}", "State=RESUME"])
        system.wait_for(lambda: self._slurm_trouble() is None, within_s=READY_S)


def netns_path(node: Node) -> Path:
    """Where ``ip netns`` keeps the node's network namespace."""
    return system.NETNS_DIRECTORY / node.netns


def in_netns(node: Node, argv: Sequence[str]) -> list[str]:
    """A command in the node's network. Not by ``ip netns exec``, which hides the cgroups behind a new /sys."""
    return ["nsenter", f"--net={netns_path(node)}", "--", *argv]


def bridge_owner() -> str | None:
    """The state directory of the cluster whose bridge this is; None where there is no bridge."""
    try:
        return Path(f"/sys/class/net/{BRIDGE}/ifalias").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def node_processes(node: Node) -> list[int]:
    """All that is in the node's network, and inits of a node of this name whose network was taken from them."""
    inits = [
        pid
        for pid in system.processes_of(Path(sys.executable).name, NODE_MODULE)
        if system.is_init(pid) and json.dumps(str(netns_path(node))) in system.command_line(pid)[-1]
    ]
    return sorted({*system.processes_in_netns(netns_path(node)), *inits})


def make_cgroups(node: Node, kind: Cgroup) -> None:
    """The node's directory in every hierarchy, ready to take processes."""
    if kind is Cgroup.V2:
        wanted = " ".join(f"+{name}" for name in ("cpu", "cpuset", "memory", "pids"))
        (CGROUP_ROOT / "cgroup.subtree_control").write_text(wanted, encoding="utf-8")
    for directory in system.cgroup_directories(node.name):
        directory.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            above = directory.parent / name
            if above.exists():  # cpuset v1: a new directory has neither, and takes no process without
                (directory / name).write_text(above.read_text(encoding="utf-8"), encoding="utf-8")


def remove_netns_mount() -> None:
    """Undo what the first ``ip netns add`` did to this machine, once no namespace is left."""
    directory = system.NETNS_DIRECTORY
    if directory.is_dir() and not any(directory.iterdir()):
        run(["umount", str(directory)], check=False)
        with contextlib.suppress(OSError):
            directory.rmdir()


def _programs_trouble() -> str | None:
    missing = {package for name, package in system.COMMANDS.items() if not system.has_command(name)}
    return f"missing: {' '.join(sorted(missing))}" if missing else None


def _no_mend() -> None:
    raise Unavailable(
        "the development cluster needs Debian packages: `apt-get install --no-install-recommends "
        f"{' '.join(sorted(set(system.COMMANDS.values())))}`"
    )


def _users_trouble() -> str | None:
    missing = [name for name in USERS if system.account(name) is None]
    return f"missing: {' '.join(missing)}" if missing else None


def _mend_users() -> None:
    for name in USERS:
        if system.account(name) is None:
            system.create_user(name)


def _munge_trouble() -> str | None:
    credential = run(["munge", "--no-input"], check=False)
    if credential.returncode != 0:
        return "no munged answers on this machine"
    opened = run(["unmunge"], check=False, stdin=credential.stdout)
    return None if opened.returncode == 0 else "munged does not open what it closed"
