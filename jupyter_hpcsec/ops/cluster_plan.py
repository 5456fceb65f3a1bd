"""What the development cluster consists of: names, addresses and files, worked out from a few settings.

Pure: values in, values out. It touches no file but its own templates and starts nothing; ``cluster_parts`` builds
what is planned here.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from string import Template

from jupyter_hpcsec.access.mountinfo import Mount
from jupyter_hpcsec.errors import HpcsecError, Malformed

DEFAULT_STATE = Path("/var/lib/hpcsec-cluster")
DEFAULT_NETWORK = "10.77.0.0/24"
NETWORK6 = "fd77:7063:7365:6300::/64"
"""A unique local network (RFC 4193). It exists on this machine's bridge only."""
BRIDGE = "hpcsec0"
BRIDGE_MAC = "02:68:70:63:73:01"
"""Locally administered (IEEE 802, second-lowest bit of the first octet)."""
CGROUP_ROOT = Path("/sys/fs/cgroup")
USERS = ("alice", "bob", "carol")
USER_MARK = "hpcsec development cluster"
"""GECOS of the users that ``up`` created; ``down --purge`` removes no other."""
NODE_CPUS, NODE_MEMORY_MIB, NODE_GPUS = 8, 16000, 4
PRIVATE_DIRECTORIES = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108
"""Each node has its own, so that neither files nor sockets in them reach from node to node or to the head."""


class Cgroup(StrEnum):
    """How Slurm tracks the processes of a job."""

    V1 = "cgroup/v1"
    V2 = "cgroup/v2"
    NONE = "linuxproc"
    """No usable cgroup: a process that leaves its session outlives its job. ``status`` warns."""


@dataclass(frozen=True)
class Node:
    """One compute node. ``netns`` and ``veth`` are the names of its namespace and of the head's end of its cable."""

    name: str
    address: str
    address6: str
    netns: str
    veth: str


@dataclass(frozen=True)
class Settings:
    """What a person may choose. Kept as ``cluster.json`` in the state directory."""

    network: str = DEFAULT_NETWORK
    gateway_port: int = 8443
    cgroup: Cgroup = Cgroup.V1
    environment: str = ""
    environment_given: bool = False
    """A person named the environment: a later `up` keeps it. Else it follows the environment that runs `up`."""

    def to_json(self) -> str:
        """Canonical text, so that an unchanged setting leaves the file unchanged."""
        return json.dumps(vars(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Read what :meth:`to_json` wrote. Raises ``Malformed``."""
        try:
            value = json.loads(text)
            settings = cls(
                network=str(value["network"]),
                gateway_port=int(value["gateway_port"]),
                cgroup=Cgroup(value["cgroup"]),
                environment=str(value["environment"]),
                environment_given=value["environment_given"] is True,
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise Malformed("the cluster's cluster.json is damaged: run `hpcsec cluster down`, then `up`") from exc
        return settings


@dataclass(frozen=True)
class Plan:
    """Everything that follows from the settings, the state directory and this machine's name."""

    state: Path
    hostname: str
    settings: Settings

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", self.hostname):
            raise Malformed(f"the host name {self.hostname!r} can't stand in slurm.conf")
        if not re.fullmatch(r"/[A-Za-z0-9_./-]+", str(self.state)):
            raise Malformed("the state directory must be an absolute path of letters, digits, '.', '_', '-' and '/'")
        if not 1024 <= self.settings.gateway_port <= 65535:
            raise Malformed("the gateway's port must lie between 1024 and 65535")
        self.network  # noqa: B018  - refused here, not half-way through `up`

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The head's and nodes' IPv4 network, at least 16 addresses."""
        try:
            network = ipaddress.IPv4Network(self.settings.network)
        except ValueError as exc:
            raise Malformed(f"not an IPv4 network such as {DEFAULT_NETWORK}: {self.settings.network!r}") from exc
        if network.prefixlen > 28 or not network.is_private:
            raise Malformed("the cluster's network must be a private IPv4 network of /28 or wider")
        return network

    @property
    def head_address(self) -> str:
        """The head's address on the bridge (IPv4)."""
        return str(self.network[1])

    @property
    def head_address6(self) -> str:
        """The head's address on the bridge (IPv6)."""
        return str(ipaddress.IPv6Network(NETWORK6)[1])

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The two compute nodes."""
        six = ipaddress.IPv6Network(NETWORK6)
        return tuple(
            Node(f"node{n}", str(self.network[10 + n]), str(six[10 + n]), f"hpcsec-node{n}", f"hpcsec-n{n}")
            for n in (1, 2)
        )

    def node(self, name: str) -> Node:
        """The node of that name; ``HpcsecError`` names those that exist."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise HpcsecError(f"no node {name!r}: there are {', '.join(node.name for node in self.nodes)}")

    @property
    def configuration(self) -> Path:
        """Where the rendered files are; the nodes see it as /etc/slurm."""
        return self.state / "etc"

    @property
    def logs(self) -> Path:
        """Where each daemon's output goes; kept by `down`."""
        return self.state / "log"

    @property
    def run(self) -> Path:
        """Slurm's own state; removed by `down`, so that no job comes back."""
        return self.state / "run"

    @property
    def firewall(self) -> str:
        """A node's nftables rules; their digest stands in the last rule's comment, so that a change is seen."""
        values = self._values()
        digest = hashlib.sha256(_render("node.nft", values | {"digest": ""}).encode()).hexdigest()
        return _render("node.nft", values | {"digest": digest})

    def files(self) -> dict[str, str]:
        """Name -> content of every file of the configuration directory."""
        values = self._values()
        rendered = {name: _render(name, values) for name in ("slurm.conf", "cgroup.conf", "gres.conf", "resolv.conf")}
        rendered["hosts"] = _render("hosts.conf", values)
        return rendered | {"cut.nft": _template("cut.nft"), "node.nft": self.firewall}

    def _values(self) -> dict[str, str]:
        cgroup = self.settings.cgroup
        names = ",".join(node.name for node in self.nodes)
        lines = (
            f"NodeName={node.name} NodeAddr={node.address} CPUs={NODE_CPUS} RealMemory={NODE_MEMORY_MIB}"
            f" Gres=gpu:standin:{NODE_GPUS} State=UNKNOWN"
            for node in self.nodes
        )
        return {
            "state": str(self.state),
            "hostname": self.hostname,
            "head_address": self.head_address,
            "head_address6": self.head_address6,
            "gateway_port": str(self.settings.gateway_port),
            "node_names": names,
            "node_lines": "\n".join(lines),
            "host_lines": "\n".join(f"{a} {n.name}" for n in self.nodes for a in (n.address, n.address6)),
            "gpu_files": f"/run/hpcsec/gpu[0-{NODE_GPUS - 1}]",
            "proctrack": "proctrack/linuxproc" if cgroup is Cgroup.NONE else "proctrack/cgroup",
            "task_plugin": "task/none" if cgroup is Cgroup.NONE else "task/cgroup",
            "plugin": "disabled" if cgroup is Cgroup.NONE else cgroup.value,
            "constrain": "no" if cgroup is Cgroup.NONE else "yes",
        }


def _template(name: str) -> str:
    return (files("jupyter_hpcsec.ops") / "cluster_files" / name).read_text(encoding="utf-8")


def _render(name: str, values: Mapping[str, str]) -> str:
    return Template(_template(name)).substitute(values)


def choose_cgroup(mounts: Sequence[Mount], root_controllers: str) -> Cgroup:
    """Which process tracking this machine can give. ``root_controllers``: ``cgroup.controllers`` of a v2 root.

    Where v1 and v2 are both mounted ("hybrid"), the controllers that Slurm needs are v1's.
    """
    top = {mount.point: mount.kind for mount in mounts if Path(mount.point).is_relative_to(CGROUP_ROOT)}
    if all(top.get(str(CGROUP_ROOT / name)) == "cgroup" for name in ("freezer", "memory")):
        return Cgroup.V1
    if top.get(str(CGROUP_ROOT)) == "cgroup2" and {"memory", "cpuset", "cpu"} <= set(root_controllers.split()):
        return Cgroup.V2
    return Cgroup.NONE


def cgroup_mounts(mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """The cgroup hierarchies below (or at) the usual place, one for each path."""
    found = {
        m.point: m for m in mounts if m.kind in {"cgroup", "cgroup2"} and Path(m.point).is_relative_to(CGROUP_ROOT)
    }
    return tuple(found.values())


def hierarchy_options(mount: Mount) -> str:
    """What to say to mount(2) so that the same v1 hierarchy is mounted again; nothing for v2."""
    flags = {"rw", "ro", "relatime", "noatime", "nodev", "nosuid", "noexec", "seclabel", "xattr"}
    unwanted = ("release_agent=", "clone_children")
    kept = [o for o in mount.options if o not in flags and not o.startswith(unwanted)]
    return ",".join(kept) if mount.kind == "cgroup" else ""


NODE_GOOD = frozenset({"idle", "mixed", "allocated", "completing"})


def parse_sinfo(text: str) -> dict[str, str]:
    """``sinfo -h -N -o '%N %T'`` -> node -> state, such as ``idle``, ``down*``."""
    return {name: state.strip() for name, _, state in (line.partition(" ") for line in text.splitlines()) if name}


def parse_counters(text: str) -> dict[str, int]:
    """``nft -j list counters`` -> counter -> packets."""
    try:
        objects = json.loads(text)["nftables"]
        return {o["counter"]["name"]: int(o["counter"]["packets"]) for o in objects if "counter" in o}
    except (ValueError, KeyError, TypeError) as exc:
        raise Malformed("nft's list of counters is not in the form that was expected") from exc


def firewall_trouble(text: str, rules: str) -> str | None:
    """Why what ``nft -j list table inet hpcsec_node`` printed is not ``rules`` in force; None when it is."""
    try:
        objects = json.loads(text)["nftables"]
    except (ValueError, KeyError) as exc:
        raise Malformed("nft's list of a table is not in the form that was expected") from exc
    rules_there = [o["rule"] for o in objects if "rule" in o]
    digest = re.search(r'drop comment "([0-9a-f]{64})"$', rules, re.MULTILINE)
    if digest is None or digest[1] not in {rule.get("comment") for rule in rules_there}:
        return "its firewall is another one than configured"
    policies = {o["chain"]["name"]: o["chain"].get("policy") for o in objects if "chain" in o}
    if policies != dict.fromkeys(("input", "forward", "output"), "drop"):
        return "its firewall does not drop by default"
    wanted = len(re.findall(r"^    (?!type )\S", rules, re.MULTILINE))
    if len(rules_there) != wanted:
        return "rules of its firewall are missing or were added"
    return None


def upstream_version(text: str) -> tuple[int, ...]:
    """``munge-0.5.15 (2022-06-22)`` -> (0, 5, 15); empty where no version stands."""
    found = re.search(r"\b(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()
